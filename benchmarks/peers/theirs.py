"""The other side: PyTorch with diffusers, each work as its user would write it.

Started as a file by any Python that has both; it imports nothing of this project but `cases.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from cases import STEPS, Case, serve  # type: ignore[import-not-found]
from diffusers import DDIMScheduler, DDPMScheduler, DiTTransformer2DModel, UNet2DModel


def network(case: Case) -> torch.nn.Module:
    """diffusers' network: its U-Nets are layer for layer that of `case`, its DiT has the same width, depth and heads."""
    if case.network == "dit":
        options = case.options
        heads, width = options["num_heads"], options["hidden_size"]
        return DiTTransformer2DModel(
            num_attention_heads=heads,
            attention_head_dim=width // heads,
            in_channels=case.channels,
            out_channels=case.channels,
            num_layers=options["depth"],
            sample_size=case.side,
            patch_size=options["patch_size"][0],
            num_embeds_ada_norm=case.classes,
        )
    if case.network == "paper":
        widths, layers, attention, groups, head = (
            (32, 64, 128, 256),
            2,
            (False, True, True, True),
            32,
            8,
        )
    else:
        options = case.options
        widths, layers = options["block_out_channels"], options["layers_per_block"]
        attention, groups = options["attention"], options["norm_num_groups"]
        head = options["attention_head_dim"]
    down = tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention)
    up = tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention))
    return UNet2DModel(
        sample_size=case.side,
        in_channels=case.channels,
        out_channels=case.channels,
        block_out_channels=widths,
        layers_per_block=layers,
        down_block_types=down,
        up_block_types=up,
        attention_head_dim=head,
        norm_num_groups=groups,
        class_embed_type=None,
        num_class_embeds=case.classes + 1 if case.classes else None,
    )


def make(case: Case) -> tuple[Callable[[], Any], dict[str, Any]]:
    """The work of a case, on fixed arrays, and what it is."""
    gpu = case.device == "gpu"
    device = torch.device("cuda" if gpu else "cpu")
    torch.manual_seed(0)
    model = network(case).to(device)
    if gpu:
        model = model.to(memory_format=torch.channels_last)
    called = torch.compile(model) if gpu else model
    x = torch.randn(case.batch, case.channels, case.side, case.side, device=device)
    labels = torch.randint(case.classes or 1, (case.batch,), device=device)
    word = {"class_labels": labels} if case.classes else {}

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        if gpu:
            with torch.autocast("cuda", torch.bfloat16):
                x = x.contiguous(memory_format=torch.channels_last)
                return called(x, t, **word).sample.float()
        return called(x, t, **word).sample

    works = {"step": _step, "forward": _forward, "ddim": _ddim}
    run = works[case.work](case, model, predict, x)

    def finished() -> None:
        run()
        if gpu:
            torch.cuda.synchronize()

    about = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if gpu else "cpu",
    }
    return finished, about


def _step(case: Case, model: torch.nn.Module, predict: Any, x: torch.Tensor) -> Callable[[], None]:
    parameters = list(model.parameters())
    average = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.Adam(parameters, lr=1e-4)
    process = DDPMScheduler()

    def run() -> None:
        t = torch.randint(1000, (case.batch,), device=x.device)
        noise = torch.randn_like(x)
        loss = torch.nn.functional.mse_loss(predict(process.add_noise(x, noise, t), t), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1e-3)
        loss.item()

    return run


def _forward(
    case: Case, model: torch.nn.Module, predict: Any, x: torch.Tensor
) -> Callable[[], None]:
    t = torch.full((case.batch,), 500, device=x.device)

    def run() -> None:
        with torch.no_grad():
            predict(x, t)

    return run


def _ddim(case: Case, model: torch.nn.Module, predict: Any, x: torch.Tensor) -> Callable[[], None]:
    scheduler = DDIMScheduler()

    def run() -> None:
        scheduler.set_timesteps(STEPS)
        y = torch.randn_like(x)
        with torch.no_grad():
            for t in scheduler.timesteps:
                out = predict(y, t.expand(case.batch).to(x.device))
                y = scheduler.step(out, t, y).prev_sample
        y.cpu()

    return run


if __name__ == "__main__":
    serve(make)
