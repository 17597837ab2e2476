"""Networks that FSDP or DTensors spread over processes: an error says what to give instead."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ganlib import latents, losses, models, training
from ganlib.errors import ArgumentTypeError
from tests.ranks import Ranks


def fully_sharded(network: nn.Module) -> nn.Module:
    """By FSDP2, whose parameters are DTensors."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    fully_shard(network, mesh=init_device_mesh("cpu", (torch.distributed.get_world_size(),)))
    return network


def wrapped(network: nn.Module) -> nn.Module:
    """By FSDP1."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    return FullyShardedDataParallel(network, device_id=torch.device("cpu"))


def make_trainer(generator: nn.Module, discriminator: nn.Module) -> training.AdversarialTrainer:
    """A trainer of two networks."""
    adams = [torch.optim.Adam(network.parameters()) for network in (generator, discriminator)]
    return training.AdversarialTrainer(
        generator, discriminator, *adams, loss=losses.HingeLoss(), latent=latents.Gaussian(3)
    )


def errors(shard: Callable[[nn.Module], nn.Module], path: str) -> list[str]:
    """What each part says of a sharded network, and of one that has a sharded network inside."""
    said = []
    sharded = shard(nn.Linear(3, 2))
    for network in (sharded, nn.Sequential(sharded)):
        for use in (
            lambda: make_trainer(network, nn.Linear(2, 1)),  # noqa: B023
            lambda: make_trainer(nn.Linear(3, 2), network),  # noqa: B023
            lambda: training.EMA(network),  # noqa: B023
            lambda: models.save_generator(path, network),  # noqa: B023
        ):
            with pytest.raises(ArgumentTypeError, match=r"sharded over processes \(FSDP or DTensor\)") as error:
                use()
            said.append(str(error.value))
    return said


@pytest.mark.parametrize("shard", [fully_sharded, wrapped])
@pytest.mark.filterwarnings("ignore")
def test_they_are_refused_before_the_training(
    shard: Callable[[nn.Module], nn.Module], two_ranks: Ranks, tmp_path: Path
) -> None:
    """By the trainers, the average and the file, each with what to give instead."""
    for said in two_ranks(errors, shard, str(tmp_path / "generator.safetensors")):
        assert "modules holds generator" in said[0]
        assert "modules holds discriminator" in said[1]
        assert all("whole on each process" in text for text in (*said[:3], *said[4:7]))
        assert all("get_model_state_dict" in text for text in (said[3], said[7]))
    assert not [*tmp_path.iterdir()]


def whole_state(path: str) -> bool:
    """Save the generator of a sharded training as the error says."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    torch.manual_seed(0)
    plain = nn.Linear(3, 2)
    weight = plain.weight.detach().clone()
    sharded = fully_sharded(plain)
    state = get_model_state_dict(sharded, options=StateDictOptions(full_state_dict=True))
    bare = nn.Linear(3, 2)
    if torch.distributed.get_rank() == 0:
        bare.load_state_dict(state)
        models.save_generator(path, bare)
        return torch.equal(models.load_generator(path, nn.Linear(3, 2)).get_parameter("weight"), weight)
    return True


def test_what_was_trained_elsewhere_is_saved_whole(two_ranks: Ranks, tmp_path: Path) -> None:
    """By the way that the error names."""
    assert two_ranks(whole_state, str(tmp_path / "generator.safetensors")) == [True, True]
