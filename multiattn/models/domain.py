"""Whether a picture is like those that a model was trained on: how far its features are from theirs.

The features are tokens that the model has computed anyway, where its next part reads them: the patches that a question
encoder attends to, or the class token that a head reads. They are whitened, and compared with a few hundred of the
training pictures' tokens, the prototypes.

Notation: b pictures, n tokens of each, m tokens of all training pictures, D width of a token, k prototypes.
Source: Roth et al. 2022 (PatchCore) for patches: prototypes that cover the training patches, the distance to the
nearest; Sun et al. 2022 (deep nearest neighbors) for one token a picture: a sample of them; Lee et al. 2018 for the
whitening, which is that of the Mahalanobis distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_argument
from ..inputs.content_words import content_words

WORST = 4
"""Number of a picture's patches, those farthest from the training pictures, whose mean distance counts."""

_FLOOR = 0.01  # of the mean variance, added to the variance in each direction: no direction without any counts fully
_POOL = 40_000  # tokens, drawn from those of the training pictures, among which prototypes are chosen


@dataclass(frozen=True, eq=False)
class Domain:
    """What is known of the pictures, and perhaps of the questions, that a model was trained on."""

    mean: Tensor
    """The mean of the training pictures' tokens, (D,)."""

    whitening: Tensor
    """A token less `mean`, times this, (D, D), has about the variance 1 in every direction."""

    prototypes: Tensor
    """Whitened tokens of training pictures, (k, D)."""

    threshold: float = 1.0
    """The distance from which on a picture is out of the domain."""

    worst: int = 1
    """Number of a picture's tokens, those farthest from their prototypes, whose mean distance counts."""

    words: frozenset[str] = frozenset()
    """The content words of the training questions, in lower case; empty where questions are not checked."""

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit each other."""
        dim = self.mean.numel()
        fitting = self.mean.shape == (dim,) and self.whitening.shape == (dim, dim)
        check_argument(fitting, "whitening", must=f"{dim} x {dim}", value=tuple(self.whitening.shape))
        shape = tuple(self.prototypes.shape)
        fitting = len(shape) == 2 and shape[0] >= 1 and shape[1] == dim
        check_argument(fitting, "prototypes", must=f"some rows of {dim}", value=shape)
        check_argument(0 < self.threshold < float("inf"), "threshold", must="above 0", value=self.threshold)
        check_argument(self.worst >= 1, "worst", must="at least 1", value=self.worst)

    @property
    def dim(self) -> int:
        """Width of the tokens."""
        return self.mean.shape[0]

    def to(self, device: torch.device) -> "Domain":
        """Return it with its tensors on a device, in float32."""
        mean, whitening, prototypes = (
            tensor.to(device=device, dtype=torch.float32) for tensor in (self.mean, self.whitening, self.prototypes)
        )
        return replace(self, mean=mean, whitening=whitening, prototypes=prototypes)

    def distances(self, tokens: Float[Tensor, "b n D"]) -> Float[Tensor, " b"]:
        """Return how far pictures are from the training pictures, in units of the threshold: above 1 is out of it.

        Args:
            tokens: The features of each picture, without the class token where these are patches.
        """
        white = (tokens.float() - self.mean) @ self.whitening  # (b, n, D)
        nearest = _distances(white.flatten(0, 1), self.prototypes).amin(dim=1).view(tokens.shape[:2])  # (b, n)
        worst = nearest.topk(min(self.worst, nearest.shape[1]), dim=1).values
        return worst.mean(dim=1) / self.threshold

    def new_words(self, question: str) -> tuple[str, ...]:
        """Return the content words that no training question had, each once; none where questions are not checked."""
        return tuple(word for word in content_words(question) if word not in self.words) if self.words else ()


def _distances(tokens: Float[Tensor, "m D"], prototypes: Float[Tensor, "k D"]) -> Float[Tensor, "m k"]:
    if not torch.compiler.is_exporting():
        return torch.cdist(tokens, prototypes)
    # cdist has another way for more than 25 rows, and an exported graph would have the one of its example
    squares = tokens.square().sum(dim=1, keepdim=True) + prototypes.square().sum(dim=1)
    return (squares - 2 * tokens @ prototypes.T).clamp(min=0).sqrt()


def distances_of(domain: Domain | None, tokens: Float[Tensor, "b n D"]) -> list[float]:
    """Return the distance of each picture from a model's training pictures; 0 where the model states none."""
    return [0.0] * len(tokens) if domain is None else [float(one) for one in domain.distances(tokens)]


def fit_prototypes(tokens: Float[Tensor, "b n D"], *, count: int, seed: int = 0) -> Domain:
    """Return the domain of training pictures, with the threshold still to be set.

    Of several tokens a picture, the prototypes are chosen one after the other, each the farthest from those before, so
    that rare patches are covered, too (most are empty background). Of one token a picture, which all count the same,
    they are drawn.

    Args:
        tokens: The features of training pictures.
        count: Number of prototypes, fewer where there are fewer tokens.
        seed: Of the tokens that are drawn.
    """
    flat = tokens.flatten(0, 1)  # (m, D)
    order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))
    pool = flat[order[:_POOL]].float()
    mean = pool.mean(dim=0)
    covariance = (pool - mean).T @ (pool - mean) / max(1, len(pool) - 1)  # (D, D)
    variances, directions = torch.linalg.eigh(covariance)
    whitening = directions / (variances.clamp(min=0) + _FLOOR * variances.mean().clamp(min=1e-12)).sqrt()
    white = (pool - mean) @ whitening
    chosen = _farthest(white, count) if tokens.shape[1] > 1 else torch.arange(min(count, len(white)))
    return Domain(mean, whitening, white[chosen], worst=WORST if tokens.shape[1] > 1 else 1)


def with_threshold(domain: Domain, groups: Sequence[tuple[Tensor, float]]) -> Domain:
    """Return a domain whose threshold marks at most a given share of each group of pictures.

    Args:
        domain: As `fit_prototypes` returned it.
        groups: The features (b, n, D) of pictures that are in the domain, but were not used to fit it; and the share
            of them that may be marked, 0 to 1.
    """
    domain = replace(domain, threshold=1.0)
    quantiles = [float(domain.distances(tokens).quantile(1 - share)) for tokens, share in groups]
    return replace(domain, threshold=max(*quantiles, 1e-6))


def _farthest(white: Tensor, count: int) -> Tensor:
    """Return the indices of `count` rows, each the farthest from those before (greedy k-center)."""
    chosen = [0]
    nearest = (white - white[0]).square().sum(dim=1)
    for _ in range(min(count, len(white)) - 1):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (white - white[chosen[-1]]).square().sum(dim=1))
    return torch.tensor(chosen)
