"""What transformers' layouts of two towers share: the rows of a tower, the keys of a text tower, its special tokens."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from torch import Tensor

from ..errors import ModelError
from ..inputs import Tokenizer
from ..models.text_tower import TextTowerConfig
from ..models.two_towers import TwoTowersConfig
from ..models.vit import ViTConfig
from .bundle import TOKENIZER
from .hf_common import around_questions, check_fixed, read_activation, token_name, write_activation
from .json_files import read_architecture
from .table import CONCAT, Drop, Row, Transform, counts

TABLE_OF_ONE = Transform("table of one", lambda theirs: theirs[0][None], lambda ours, count: [ours[0]])
"""Their table (n, D) against ours for a batch of one, (1, n, D)."""

TOKEN = Transform("token", lambda theirs: theirs[0].view(1, 1, -1), lambda ours, count: [ours.view(-1)])
"""Their token (D,) against ours for a batch of one, (1, 1, D)."""

_SEPARATE = {"activation", "start_token", "end_token", "pad_token", "pool"}  # fields that need more than another name
_TRAINING = {"dropout"}  # fields that no layout need express


def tower_rows(theirs: str, ours: str) -> tuple[Row | Drop, ...]:
    """Return the rows for the blocks of a tower, whose keys have these prefixes."""
    layer, block = f"{theirs}encoder.layers.{{i}}.", f"{ours}blocks.{{i}}."
    return (
        Row(f"{block}norm1.{{p}}", f"{layer}layer_norm1.{{p}}"),
        Row(f"{block}attention.qkv.{{p}}", tuple(f"{layer}self_attn.{name}_proj.{{p}}" for name in "qkv"), CONCAT),
        Row(f"{block}attention.out.{{p}}", f"{layer}self_attn.out_proj.{{p}}"),
        Row(f"{block}norm2.{{p}}", f"{layer}layer_norm2.{{p}}"),
        Row(f"{block}feedforward.fc1.{{p}}", f"{layer}mlp.fc1.{{p}}"),
        Row(f"{block}feedforward.fc2.{{p}}", f"{layer}mlp.fc2.{{p}}"),
        Drop(f"{theirs}embeddings.position_ids", "counts the positions", counts),
    )


TEXT_ROWS = (
    Row("text.embedding.weight", "text_model.embeddings.token_embedding.weight"),
    Row("text.positions.weight", "text_model.embeddings.position_embedding.weight"),
    *tower_rows("text_model.", "text."),
    Row("text.norm.{p}", "text_model.final_layer_norm.{p}"),
)


@dataclass(frozen=True)
class TextKeys:
    """The keys of the configuration of one of transformers' text towers, against the fields of ours."""

    names: Mapping[str, tuple[str, Any]]
    """Fields of ours: the key of theirs, and its default."""

    activation: str
    """Their default of `hidden_act`."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ours that have one value in all of these models, which is not our default."""

    @property
    def fixed(self) -> dict[str, Any]:
        """The fields of ours that they cannot express, and their values in all of these models."""
        expressed = {*self.names, *_SEPARATE, *_TRAINING}
        defaults = {one.name: one.default for one in fields(TextTowerConfig) if one.name not in expressed}
        return defaults | dict(self.values)

    def read(self, config: Mapping[str, Any], *, where: str, **derived: Any) -> TextTowerConfig:
        """Return our configuration for theirs. A value that is not stated has the default of transformers.

        Args:
            config: Theirs.
            where: The file, for messages.
            derived: The fields that the layout has found by itself.

        Raises:
            ModelError: Ours cannot be such a tower.
        """
        found = {
            **self.fixed,
            "activation": read_activation(config.get("hidden_act", self.activation), "hidden_act", where=where),
            **{ours: config.get(theirs, default) for ours, (theirs, default) in self.names.items()},
            **derived,
        }
        return read_architecture(found, TextTowerConfig, where=where, name="text_config")

    def write(self, text: TextTowerConfig, layout: str) -> dict[str, Any]:
        """Return the keys that `read` reads.

        Raises:
            ModelError: They cannot express the tower.
        """
        check_fixed(text, self.fixed, layout, of="text tower")
        return {
            "hidden_act": write_activation(text.activation),
            **{theirs: getattr(text, ours) for ours, (theirs, _) in self.names.items()},
        }


def together(vision: ViTConfig, text: TextTowerConfig, *, where: str, **others: Any) -> TwoTowersConfig:
    """Return the configuration of two towers.

    Raises:
        ModelError: They do not fit each other.
    """
    found = {"vision": asdict(vision), "text": asdict(text), **others}
    return read_architecture(found, TwoTowersConfig, where=where)


def describe_tokenizer(tokenizer: Tokenizer, text: TextTowerConfig, layout: str) -> dict[str, dict[str, Any]]:
    """Return the files of the vocabulary, with which transformers too frames a text.

    Raises:
        ModelError: A special token has no name.
    """
    roles = {"bos_token": text.start_token} if text.has_start else {}
    roles |= {"eos_token": text.end_token, "pad_token": text.pad_token}
    start = text.start_token if text.has_start else None
    return {
        TOKENIZER: around_questions(tokenizer, start, text.end_token, layout),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_max_length": text.max_length,
            "padding_side": "right",
            **{role: token_name(tokenizer, role, token, layout) for role, token in roles.items()},
        },
    }


def scalar(theirs: Tensor) -> Tensor:
    """Return a tensor of one number as a scalar.

    Raises:
        ModelError: It has more.
    """
    if theirs.numel() != 1:
        raise ModelError(f"the scale of the logits must be one number, but has the shape {list(theirs.shape)} instead")
    return theirs.reshape(())


NUMBER = Transform("number", lambda theirs: scalar(theirs[0]), lambda ours, count: [ours.reshape(1)])
"""Their tensor (1,) against our scalar."""
