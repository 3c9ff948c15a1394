"""What importing costs and drags in; and that no game needs a network."""

import json
import statistics
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "scipy", "matplotlib", "rich", "vllm", "datasets", "requests", "textarena", "pyspiel")

IMPORT = """
import json, sys, time
import gymnasium, pettingzoo
before = set(sys.modules)
start = time.process_time()
import lmgames
seconds = time.process_time() - start
print(json.dumps([seconds, sorted({name.partition(".")[0] for name in set(sys.modules) - before})]))
"""

PLAY = """
import json, socket, sys

def blocked(*args, **kwargs):
    raise AssertionError("a socket was opened")

socket.socket = socket.create_connection = socket.getaddrinfo = blocked
import gymnasium, lmgames

for name in lmgames.GAMES:
    env = lmgames.make(name)
    env.reset(seed=0)
    for agent in env.agent_iter():
        _, _, terminated, truncated, info = env.last()
        env.step(None if terminated or truncated else env.action_space(agent).sample(info["action_mask"]))
    assert not env.agents
    env.close()
alone = set(sys.modules)
for name in lmgames.GAMES:
    gymnasium.make(f"lmgames/{name}").reset(seed=0)
print(json.dumps([sorted(alone), sorted(sys.modules)]))
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_adds_little():
    """CPU time on top of gymnasium and pettingzoo, which noise of other processes hardly touches."""
    runs = [run(IMPORT) for _ in range(3)]
    assert statistics.median(seconds for seconds, _ in runs) < 0.15
    assert set(runs[0][1]) <= {"lmgames", *sys.stdlib_module_names}


@pytest.mark.parametrize(
    "call", ["testing.check_game('KuhnPoker-v0', checks=['T2'])", "solve.minimax", "playthrough.playthrough"]
)
def test_modules_of_the_package_are_there_when_asked_for(call):
    assert run(f"import lmgames; lmgames.{call}; print(1)") == 1
    assert run("import lmgames, sys; print(int('lmgames.solve' in sys.modules or 'lmgames.testing' in sys.modules))") == 0


def test_games_need_no_network_and_nothing_heavy():
    alone, with_opponents = run(PLAY)
    assert [name for name in HEAVY if name in alone] == []
    assert "agents" not in alone
    assert [name for name in HEAVY if name in with_opponents] == []
