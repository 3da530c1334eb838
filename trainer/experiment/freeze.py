"""The second stage of paper 004, Algorithm 1: everything but the output layers is frozen."""

from __future__ import annotations

from torch import nn

_HEAD_NAMES = ("head", "classifier", "fc")


def head_names(net: nn.Module) -> tuple[str, ...]:
    """Names of the children that give the answer; the last one with parameters where none is called a head."""
    children = [name for name, child in net.named_children() if any(True for _ in child.parameters())]
    heads = [name for name in children if any(part in name for part in _HEAD_NAMES)]
    if not heads and len(children) == 1:
        only = getattr(net, children[0])
        return tuple(f"{children[0]}.{name}" for name in head_names(only))
    return tuple(heads or children[-1:])


def freeze_body(net: nn.Module) -> None:
    """Stop everything but the heads from learning, running statistics included; call after ``train()`` each time."""
    heads = head_names(net)
    for name, module in net.named_modules():
        kept = any(name == head or name.startswith(f"{head}.") for head in heads)
        holds = any(head == name or head.startswith(f"{name}.") for head in heads) or not name
        if not kept and not holds:
            module.eval()
    for name, parameter in net.named_parameters():
        if not any(name == head or name.startswith(f"{head}.") for head in heads):
            parameter.requires_grad_(False)
            parameter.grad = None
