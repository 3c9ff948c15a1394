"""The sets of options under which every game is checked and its golden playthroughs are written; {} is always the first."""

from typing import Any

OPTION_SETS: dict[str, dict[str, dict[str, Any]]] = {
    "KuhnPoker-v0": {
        "two_hands": {"hands": 2},
        "match": {"hands": 6, "stack": 5, "scoring": "match", "first_player": "random", "forfeit_match": True},
        "duplicate": {"hands": 4, "deals": "duplicate", "reveal_on_fold": True, "scoring": "chips_norm"},
        "all": {"deals": "all", "legal_hint": "count"},
        "five_cards": {"deck_size": 5, "ante": 2, "aliases": True, "select": "last", "legal_hint": "none"},
    },
    "TicTacToe-v0": {
        "wide": {"rows": 4, "cols": 5, "in_a_row": 4, "random_opening": 2, "coords": True},
        "renumbered": {"symmetry": "random", "first": "o", "opening": [4], "select": "first"},
        "misere": {"misere": True},
    },
    "DealOrNoDeal-v0": {
        "public_offer": {"protocol": "public_offer", "objective": "comp", "max_messages": 8},
        "selection": {"protocol": "selection", "objective": "coop", "normalize": True, "max_messages": 6},
        "walk": {"walk_from": 2, "first": 0, "reveal_end": False, "missing_zero": True, "objective": 0.5},
        "own_items": {
            "items": ["book", "knife/knives"],
            "min_items": 3,
            "max_items": 4,
            "objective": "comp",
            "comp_disagreement": 5,
            "walk_from": 2,
            "contexts": [0, 1, 2],
            "select": "last",
        },
    },
    "SimpleNegotiation-v0": {
        "difference": {"objective": "difference", "max_turns": 6, "first": "random"},
        "spiral2": {"preset": "spiral2", "objective": "sign", "offer_ttl": 3},
        "spiral2_random": {"preset": "spiral2_random", "holdings_public": True, "normalize": True},
    },
    "WhoIsTheSpy-v0": {
        "classic": {
            "role_visible": False,
            "players": 4,
            "clue_rounds": 1,
            "mode": "elimination",
            "order": "shuffle",
            "voters": "all",
        },
        "blank": {"spy_word": "blank", "players": 3, "clue_rounds": 1, "voters": "all", "scheme": "win", "zero_sum": True},
        "two_spies": {"players": 6, "spies": 2, "clue_rounds": 1, "scheme": "win", "mode": "elimination", "tie": "random"},
        "one_word": {"max_words": 1, "players": 3, "split": "eval", "spy_word": "blank"},
        "judge": {"players": 4, "clue_rounds": 1, "voters": "non_spy_plus_judge", "scheme": "mixed", "tie": "revote"},
    },
    "Debate-v0": {
        "agent_judge": {"judge": "agent", "interactive": True},
        "simultaneous": {"order": "simultaneous", "reward": "prob"},
        "pixels": {"source": "pixels", "order": "alternating"},
        "tally": {"source": "tally", "size": 10, "judge": "coin", "know_truth": False, "swap": "both"},
        "bisection": {"source": "bisection", "size": 8, "mode": "consultancy", "judge": "agent", "judge_reward": "log"},
        "double_consultancy": {"mode": "double_consultancy", "show_invalid": True, "quotes": 1},
    },
    "AdversarialTaboo-v0": {
        "hint": {"hint": "category", "rounds": 3, "attacker_violation": "void"},
        "strict": {"match": "stem", "malformed_guess": "invalid", "reward_shape": "spag_decay"},
    },
}
"""ID -> name of the set -> options of game and environment."""


def option_sets(name: str) -> dict[str, dict[str, Any]]:
    """Every set of a game by name; games without an entry have the default alone."""
    return {"default": {}, **OPTION_SETS.get(name, {})}
