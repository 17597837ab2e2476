"""Step an Adam optimizer with coefficients on the device."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["adam_step"]


@torch.no_grad()
def adam_step(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], lr: Tensor, beta1: Tensor, beta2: Tensor
) -> None:
    r"""Step down the gradients of a group of Adam or AdamW, as torch does.

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
        \theta \leftarrow \theta - \eta \, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    All implementations in torch read the betas on the host, so a recording would keep their values.

    Args:
        optimizer: an Adam or AdamW, which has the states.
        group: one of its groups.
        lr: () on the device.
        beta1: () on the device.
        beta2: () on the device.

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, arXiv:1412.6980, Algorithm 1.

        The weight decay of AdamW: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019,
        arXiv:1711.05101.
    """
    parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
    if not parameters:
        return
    states = [optimizer.state[parameter] or _first_state(optimizer, group, parameter) for parameter in parameters]
    gradients: Any = [parameter.grad for parameter in parameters]
    means, squares, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
    if group["maximize"]:
        gradients = torch._foreach_neg(gradients)
    if group["weight_decay"]:
        if isinstance(optimizer, torch.optim.AdamW) or group.get("decoupled_weight_decay"):
            torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        else:
            gradients = torch._foreach_add(gradients, parameters, alpha=group["weight_decay"])
    torch._foreach_add_(steps, 1)
    torch._foreach_mul_(means, beta1)
    torch._foreach_add_(means, torch._foreach_mul(gradients, 1 - beta1))
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, torch._foreach_mul(gradients, 1 - beta2), gradients)
    if group["amsgrad"]:
        largest = [state["max_exp_avg_sq"] for state in states]
        torch._foreach_maximum_(largest, squares)
        squares = largest
    count = torch.stack(steps).to(lr.dtype)
    roots = torch._foreach_sqrt(squares)
    torch._foreach_div_(roots, (1 - beta2**count).sqrt().to(roots[0].dtype).unbind())
    torch._foreach_add_(roots, group["eps"])
    changes = torch._foreach_div(means, roots)
    torch._foreach_mul_(changes, (-lr / (1 - beta1**count)).to(changes[0].dtype).unbind())
    torch._foreach_add_(parameters, changes)


def _first_state(optimizer: torch.optim.Optimizer, group: dict[str, Any], parameter: Tensor) -> dict[str, Tensor]:
    state = optimizer.state[parameter]
    state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
    for name in ("exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if group["amsgrad"] else [])):
        state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    return state
