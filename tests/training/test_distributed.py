"""The processes of a run: each rank sees the same, and one alone is the same path."""

import pytest

from training.distributed import ALONE, World, join_world


def test_alone_each_call_gives_back_what_it_was_given():
    with join_world("cpu") as world:
        assert world == ALONE == World()
        assert world.is_main
        assert world.all_gather_objects({"a": 1}) == [{"a": 1}]
        assert world.broadcast_object("b") == "b"
        assert world.all_reduce_sum([0.1, 2]) == [0.1, 2.0]
        assert world.all_reduce_max([-3]) == [-3.0]
        world.barrier()


def talk(world):
    uneven = [f"{world.rank}-{number}" for number in range(world.rank * 2)]
    return {
        "place": (world.rank, world.size, world.is_main, str(world.device)),
        "gathered": world.all_gather_objects(uneven),
        "told": world.broadcast_object(f"from {world.rank}"),
        "told by 1": world.broadcast_object(f"from {world.rank}", source=1),
        "sum": world.all_reduce_sum([0.1 + world.rank, 1.0]),
        "max": world.all_reduce_max([-1.0 * world.rank]),
    }


def test_two_ranks_see_the_same(on_ranks):
    first, second = on_ranks(2, talk)
    assert first.pop("place") == (0, 2, True, "cpu")
    assert second.pop("place") == (1, 2, False, "cpu")
    assert first == second
    assert first == {
        "gathered": [[], ["1-0", "1-1"]],
        "told": "from 0",
        "told by 1": "from 1",
        "sum": [0.1 + 1.1, 2.0],
        "max": [0.0],
    }


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="sees no GPU"), join_world("cuda"):
        pass
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "3")
    with pytest.raises(ValueError, match="process 3 of this machine has no GPU: there are 2"), join_world("auto"):
        pass
    with pytest.raises(ValueError, match="'gpu' is not one of"), join_world("gpu"):
        pass
