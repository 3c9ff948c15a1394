"""How sure strengths are: intervals and tests from the profile of the likelihood, with deals as the independent units.

A contrast d = c . theta, such as the difference of two agents, is held at a value while everything else is fitted. The values at
which twice the loss of log-likelihood, divided by the dispersion phi, stays below the square of Student's quantile are its
interval. So intervals are long on the side where results say little: after 60 wins of 60 upwards.

The dispersion is by how much the contrast varies from deal to deal (the cluster-robust or "sandwich" variance), as a multiple of
what the likelihood takes it to be. It is above 1 where what is played on one deal goes together, and below where mirrored seats
cancel luck. Deals that hardly differ, be it that they are few or that nearly all were won, say little about it; then it is drawn
towards that of independent games, as if `PRIOR_GAMES` of them had been seen, and is never below what the deals themselves show.
Half a game is counted against whatever is claimed (a continuity correction).

Sources: Venzon and Moolgavkar 1988, profile-likelihood-based confidence intervals; McCullagh and Nelder 1989, section 9.2
(dispersion); Liang and Zeger 1986 (sandwich); Kline and Santos 2012, A score based approach to wild bootstrap inference.
"""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from benchmarks.choices import Choices, Floats

LEVEL = 0.95
PRIOR_GAMES = 5.0  # independent ones that the dispersion is drawn towards
HALF = 0.5  # of a game
TOLERANCE = 1e-4  # logits: a log-likelihood is off by the square of it
CLOSE = 0.002  # of the quantile: how exactly ends are found


class Profile:
    """The likelihood around its maximum.

    Axes: P parameters, K contrasts, D deals of a game, A alternatives, C choices.

    Args:
        choices: the model.

    Attributes:
        theta_P: the estimate, logits.
        freedom: degrees of freedom: deals of all games less one each; 0: nothing is known about how deals differ.
    """

    def __init__(self, choices: Choices):
        self.choices = choices
        theta_P1 = choices.fit(np.zeros((choices.parameters, 1)))
        self.theta_P = theta_P1[:, 0]
        self.freedom = sum(counts.shape[1] - 1 for counts in choices.by_deal.values())
        self._shares_A = choices.shares(theta_P1)[:, 0]
        self._inverse_PP = np.linalg.inv(choices.curvature(self._shares_A[:, None])[0] + np.diag(choices.precision_P))
        self._mean_CP = choices.together_CA @ choices.design_AP.multiply(self._shares_A[:, None]).tocsr()
        self.scores = {  # [D, P], gradient of what was played on each deal
            game: (counts.T @ choices.design_AP - (choices.together_CA @ counts).T @ self._mean_CP).toarray()
            for game, counts in choices.by_deal.items()
        }

    def estimates(self, contrasts_PK: Floats) -> Floats:
        """Their values, [K]."""
        found: Floats = contrasts_PK.T @ self.theta_P
        return found

    def variance(self, contrasts_PK: Floats) -> tuple[Floats, Floats]:
        """(variance of each contrast, its dispersion phi)."""
        influence_PK = self._inverse_PP @ contrasts_PK
        deviation_AK = self.choices.design_AP @ influence_PK
        deviation_AK -= (self._mean_CP @ influence_PK)[self.choices.choice_of_A]
        expected_AK = (self.choices.totals_A * self._shares_A)[:, None] * deviation_AK**2
        weight_A1 = self.choices.weight_A[:, None]
        independent_AK = weight_A1 * expected_AK
        fourth_AK = weight_A1**2 * independent_AK * deviation_AK**2
        seen_K = np.zeros(contrasts_PK.shape[1])
        for game, scores_DP in self.scores.items():
            deals = len(scores_DP)
            if deals > 1:
                centred_DK = (scores_DP - scores_DP.mean(axis=0)) @ influence_PK
                seen_K += deals / (deals - 1) * (centred_DK**2).sum(axis=0)
            else:
                seen_K += independent_AK[self.choices.rows[game]].sum(axis=0)
        # As many games of even outcomes would tell as much about the dispersion: where one side nearly always wins, it is few.
        independent_K = independent_AK.sum(axis=0)
        known_K = np.minimum(self.freedom, _ratio(independent_K**2, fourth_AK.sum(axis=0), 0.0))
        drawn_K = (known_K * seen_K + PRIOR_GAMES * independent_K) / (known_K + PRIOR_GAMES)
        variance_K = np.maximum(seen_K, drawn_K)
        return variance_K, _ratio(variance_K, expected_AK.sum(axis=0), 1.0)

    def intervals(self, contrasts_PK: Floats) -> tuple[Floats, Floats]:
        """(lower ends, upper ends), [K]; NaN where no game has two deals."""
        if not self.freedom:
            return (np.full(contrasts_PK.shape[1], np.nan),) * 2
        limit = float(stats.t.ppf((1 + LEVEL) / 2, self.freedom))
        spread = self.variance(contrasts_PK)
        low_K, high_K = (self._ends(contrasts_PK, sign, limit, *spread) for sign in (-1.0, 1.0))
        return low_K, high_K

    def tests(self, contrasts_PK: Floats) -> tuple[Floats, Floats]:
        """(two-sided p-values of "the contrast is 0", standard errors), [K].

        Where the test is sure, an error is that by which the estimate would have to be divided to give its statistic: of lopsided
        results the variance says less.
        """
        count = contrasts_PK.shape[1]
        if not self.freedom or not count:
            return np.ones(count), np.full(count, np.inf)
        estimate_K = self.estimates(contrasts_PK)
        variance_K, phi_K = self.variance(contrasts_PK)
        tilt_PK = -HALF * phi_K * np.sign(estimate_K) * contrasts_PK
        tilted_PK, top_K = self._tilted(tilt_PK)
        _, held_K = self._held(contrasts_PK, np.zeros(count), tilted_PK, tilt_PK)
        statistic_K = np.sqrt(2 * np.maximum(top_K - held_K, 0.0) / phi_K)
        statistic_K[(contrasts_PK * tilted_PK).sum(axis=0) * estimate_K <= 0] = 0.0  # half a game would turn it round
        error_K = np.where(statistic_K > 1, np.abs(estimate_K) / np.maximum(statistic_K, 1.0), np.sqrt(variance_K))
        return 2 * stats.t.sf(statistic_K, self.freedom), error_K

    def _ends(self, contrasts_PK: Floats, sign: float, limit: float, variance_K: Floats, phi_K: Floats) -> Floats:
        """Where twice the loss of log-likelihood by phi reaches limit^2, on one side of the estimates, [K]."""
        tilt_PK = HALF * phi_K * sign * contrasts_PK
        theta_PK, top_K = self._tilted(tilt_PK)
        inside_K = (contrasts_PK * theta_PK).sum(axis=0)
        near_K, near_loss_K = inside_K.copy(), np.full(len(inside_K), -limit)  # losses as quantiles, less the limit
        far_K, far_loss_K = np.full(len(inside_K), np.nan), np.full(len(inside_K), np.nan)
        at_K = inside_K + sign * limit * np.maximum(np.sqrt(variance_K), 1e-3)
        left = np.arange(len(inside_K))
        for turn in range(60):
            theta_PK[:, left], value_K = self._held(contrasts_PK[:, left], at_K[left], theta_PK[:, left], tilt_PK[:, left])
            loss_K = np.sqrt(2 * np.maximum(top_K[left] - value_K, 0.0) / phi_K[left]) - limit
            beyond = loss_K > 0
            far_K[left[beyond]], far_loss_K[left[beyond]] = at_K[left[beyond]], loss_K[beyond]
            near_K[left[~beyond]], near_loss_K[left[~beyond]] = at_K[left[~beyond]], loss_K[~beyond]
            left = left[np.abs(loss_K) > CLOSE * limit]
            if not len(left):
                break
            between = np.isfinite(far_K[left])
            gap_K = np.where(between, far_K[left] - near_K[left], near_K[left] - inside_K[left])
            share_K = -near_loss_K[left] / (far_loss_K[left] - near_loss_K[left]) if turn % 4 < 3 else 0.5
            reach_K = np.clip(-near_loss_K[left] / np.maximum(near_loss_K[left] + limit, 1e-9), 0.1, 3.0) * 1.05
            at_K[left] = near_K[left] + gap_K * np.where(between, share_K, reach_K)
        return at_K

    def _tilted(self, tilt_PK: Floats) -> tuple[Floats, Floats]:
        """(the maximum of the log-likelihood with a linear term added, its value)."""
        start_PK = np.repeat(self.theta_P[:, None], tilt_PK.shape[1], axis=1)
        theta_PK = self.choices.fit(start_PK, tilt_PK=tilt_PK, tolerance=TOLERANCE)
        return theta_PK, self.choices.log_likelihood(theta_PK) + (tilt_PK * theta_PK).sum(axis=0)

    def _held(self, contrasts_PK: Floats, at_K: Floats, start_PK: Floats, tilt_PK: Floats) -> tuple[Floats, Floats]:
        """(the maximum with each contrast held at a value, the tilted log-likelihood there)."""
        along_PK = self._inverse_PP @ contrasts_PK
        missing_K = at_K - (contrasts_PK * start_PK).sum(axis=0)
        start_PK = start_PK + along_PK * (missing_K / (contrasts_PK * along_PK).sum(axis=0))
        theta_PK = self.choices.fit(start_PK, along_PK=contrasts_PK, tolerance=TOLERANCE)
        return theta_PK, self.choices.log_likelihood(theta_PK) + (tilt_PK * theta_PK).sum(axis=0)

    def samples(self, counts: Mapping[str, Floats], rng: np.random.Generator) -> Floats:
        """The score bootstrap: the estimate in resampled deals to first order, with the same dispersion as intervals; [P, S].

        Args:
            counts: by game, how often each of its deals comes in each sample, [S, D].
            rng: of what deals that are few or alike cannot show, and of Student's widening.
        """
        total = next(iter(counts.values())).shape[0]
        score_PS = sum((self.scores[game].T @ (counts_SD - 1.0).T for game, counts_SD in counts.items()), np.zeros((1, 1)))
        scaled_A1 = (self.choices.weight_A * self.choices.totals_A * self._shares_A)[:, None]
        per_choice_C1 = self.choices.together_CA @ scaled_A1
        design_AP, mean_CP = self.choices.design_AP, self._mean_CP
        independent_PP = (
            design_AP.T @ design_AP.multiply(scaled_A1) - mean_CP.T @ mean_CP.multiply(per_choice_C1)
        ).toarray()
        values_P, vectors_PP = np.linalg.eigh(independent_PP)
        root_PP = vectors_PP * np.sqrt(np.maximum(values_P, 0.0) * PRIOR_GAMES / (self.freedom + PRIOR_GAMES))
        score_PS = score_PS + root_PP @ rng.standard_normal((len(values_P), total))
        wider_S = np.sqrt(self.freedom / rng.chisquare(self.freedom, total))
        found: Floats = self.theta_P[:, None] + self._inverse_PP @ score_PS * wider_S
        return found


def _ratio(one_K: Floats, other_K: Floats, otherwise: float) -> Floats:
    return np.divide(one_K, other_K, out=np.full_like(one_K, otherwise), where=other_K > 0)
