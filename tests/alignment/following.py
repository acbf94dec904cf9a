"""A recognizer with heads of a given kind: follow the speech, run backwards, stand still, or attend to everything.

Frames and tokens carry codes of times, sines and cosines whose product is the higher the nearer two times are. Nothing
but the positions reaches the queries: embeddings and what the branches give are zero.
"""

import torch

from multiattn.models import SpeechConfig, SpeechEncoderConfig, SpeechRecognizer, TextDecoderConfig

WIDTH = 22  # of a code, and of a head
FRAMES, LAYERS, HEADS = 83, 3, 2
VOCABULARY, START, END = 13, 1, 2
_SHARPNESS = 3.0
_KINDS = ("follows", "reversed", "parked", "flat")


def code(times: torch.Tensor) -> torch.Tensor:
    """Code frame indices (k) as (k, WIDTH)."""
    turns = torch.arange(1, WIDTH // 2 + 1) * (torch.pi / FRAMES)
    angles = times.float()[:, None] * turns
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def context(recordings: int = 1) -> torch.Tensor:
    """The encoder output: the code of each frame's index; later recordings run slower."""
    return torch.stack([code(torch.arange(FRAMES) / (1 + 0.25 * i)) for i in range(recordings)])


def recognizer(frames: list[float], heads: dict[tuple[int, int], str]) -> SpeechRecognizer:
    """Build a model; heads not in `heads` are flat. Row i attends to frame `frames[i]` in heads that follow.

    The row that predicts a token is that of the token before it: `frames[0]` is that of the start token.
    """
    dim = WIDTH * HEADS
    config = SpeechConfig(
        SpeechEncoderConfig(mels=5, dim=WIDTH, depth=1, num_heads=1, mlp_dim=7, max_frames=FRAMES, positions="learned"),
        TextDecoderConfig(
            vocab_size=VOCABULARY,
            dim=dim,
            depth=LAYERS,
            num_heads=HEADS,
            mlp_dim=5,
            max_length=len(frames),
            context_dim=WIDTH,
            start_token=START,
            end_token=END,
        ),
    )
    model = SpeechRecognizer(config).eval()
    for parameter in model.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    at = code(torch.tensor(frames))
    with torch.no_grad():
        # a code and its negative: of mean zero and all alike in size, so that the norm only scales it
        model.decoder.positions.weight.copy_(torch.cat([at, -at], dim=1))
        for layer, block in enumerate(model.decoder.blocks):
            block.cross_norm.weight.fill_(1.0)
            for head in range(HEADS):
                kind = heads.get((layer, head), "flat")
                assert kind in _KINDS
                own = slice(head * WIDTH, (head + 1) * WIDTH)
                block.cross_attention.kv.weight[own] = torch.eye(WIDTH)
                turned = torch.eye(WIDTH)
                if kind == "reversed":  # at -t, and then as far on as there are frames
                    half = WIDTH // 2
                    steps = torch.arange(1, half + 1) * torch.pi
                    turned = torch.zeros(WIDTH, WIDTH)
                    for i in range(half):
                        cosine, sine = steps[i].cos(), steps[i].sin()
                        # cos(a - x), sin(a - x)
                        turned[i, i], turned[i, half + i] = cosine, sine
                        turned[half + i, i], turned[half + i, half + i] = sine, -cosine
                if kind in ("follows", "reversed"):
                    block.cross_attention.q.weight[own, :WIDTH] = _SHARPNESS * turned
                if kind == "parked":
                    block.cross_attention.q.bias[own] = 2 * _SHARPNESS * code(torch.tensor([5.0]))[0]
    return model
