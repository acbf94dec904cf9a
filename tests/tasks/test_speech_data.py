"""The data module of transcription: what is in a batch, and when it is the same again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from multiattn.errors import InputError, ModelError
from multiattn.inputs import Tokenizer, load_audio
from multiattn.tasks import TranscribeData
from multiattn.tasks.loading.audio_augmentation import AudioAugmentation, at_speed
from multiattn.tasks.loading.sampler import BucketBatches, Key

from .tones import COUNTS, PREPROCESSING, RATE, epoch_of, make, said, same, speak, tone


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speak(tmp_path_factory.mktemp("spoken"))


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Of the training split, one is damaged, one missing and one too long."""
    root = speak(tmp_path / "odd")
    (root / "train" / "4.wav").write_bytes(b"")
    (root / "train" / "7.wav").unlink()
    sf.write(root / "train" / "9.wav", tone(["low"], seconds=2.1), RATE)
    return root


# what is in a batch


def test_a_batch_holds_features_and_tokens(spoken) -> None:
    data = make(spoken)
    batches = epoch_of(data, 0)
    assert len(batches) == 4
    for batch in batches:
        assert batch.encoded is None and batch.features is not None
        for row, place in enumerate(batch.indices.tolist()):
            words = said("train", place)
            assert batch.texts[row] == " ".join(words).capitalize() + "."
            samples = load_audio(spoken / "train" / f"{place}.wav", rate=RATE)
            expected = PREPROCESSING.features(samples)
            assert int(batch.lengths[row]) == expected.shape[-1]
            assert float(batch.seconds[row]) == pytest.approx(len(samples) / RATE)
            torch.testing.assert_close(batch.features[row, :, : expected.shape[-1]], expected, rtol=0, atol=1e-5)
            tokens = batch.tokens[row][batch.attention_mask[row]].tolist()
            assert (tokens[0], tokens[-1]) == (1, 2)
            assert data.tokenizer.decode(tokens) == " ".join(words)
            assert (batch.tokens[row][~batch.attention_mask[row]] == 0).all()


def test_evaluation_is_every_recording_in_order(spoken) -> None:
    data = make(spoken, augmentation=AudioAugmentation())
    batches: list[Any] = list(data.val_dataloader())
    assert [b.indices.tolist() for b in batches] == [[0, 1, 2], [3, 4]]
    expected = PREPROCESSING.features(load_audio(spoken / "validation" / "3.wav", rate=RATE))
    torch.testing.assert_close(batches[1].features[0, :, : expected.shape[-1]], expected, rtol=0, atol=1e-5)
    assert len(list(data.test_dataloader())) == 1
    data.predict_split = "train"
    assert sum(len(b.indices) for b in data.predict_dataloader()) == COUNTS["train"]


def test_each_process_must_have_a_part_of_what_is_evaluated(spoken) -> None:
    """Lightning stops one that has none, and the others wait for it."""
    for rank in (0, 5):
        data = make(spoken, task={"rank": rank, "world": COUNTS["validation"] + 1})
        with pytest.raises(
            InputError,
            match=r"validation must have at least as many recordings as there are processes \(6\), but has 5",
        ):
            data.val_dataloader()
    assert len(make(spoken, task={"rank": 4, "world": 5}).val_dataloader()) == 1


def test_silence_may_have_no_words(tmp_path) -> None:
    (tmp_path / "train").mkdir()
    sf.write(tmp_path / "train" / "a.wav", tone([]), RATE)
    sf.write(tmp_path / "train" / "b.wav", tone(["low"]), RATE)
    (tmp_path / "train" / "metadata.csv").write_text("file_name,text\na.wav,\nb.wav,low\n")
    (batch,) = epoch_of(make(tmp_path, batch_size=2), 0)
    rows = {
        text: row[attention_mask].tolist()
        for text, row, attention_mask in zip(batch.texts, batch.tokens, batch.attention_mask, strict=True)
    }
    assert rows[""] == [1, 2] and len(rows["low"]) > 2


def test_a_vocabulary_that_keeps_spaces_begins_with_one(spoken) -> None:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    letters = {letter: i + 3 for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = tokenizers.Tokenizer(models.BPE(vocab=letters, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    data = make(spoken, task={"tokenizer": Tokenizer(backend)})
    batch = epoch_of(data, 0)[0]
    assert data.tokenizer.decode(batch.tokens[0][batch.attention_mask[0]].tolist()[1:-1]).startswith(
        (" low", " mid", " high")
    )


def test_the_prompt_takes_room(spoken) -> None:
    with pytest.raises(ModelError, match=r"must have room for a text after the 5 tokens that each begins with"):
        epoch_of(make(spoken, task={"max_length": 5, "opening": [1] * 5}), 0)


# the same again


@pytest.mark.parametrize("options", [{}, {"batch_seconds": 2.5}, {"cache": True}, {"num_workers": 1}])
def test_an_epoch_can_be_entered_anywhere(options, spoken) -> None:
    augmentation = AudioAugmentation(noise=("white", "pink", "babble"), noise_share=0.7)
    whole = epoch_of(make(spoken, augmentation=augmentation, **options), 2)
    rest = epoch_of(make(spoken, augmentation=augmentation, **options), 2, start=2)
    assert same(rest, whole[2:])
    other = epoch_of(make(spoken, augmentation=augmentation, **options), 3)
    assert not same(other, whole)


def test_workers_change_nothing(spoken) -> None:
    options: dict[str, Any] = {"augmentation": AudioAugmentation(), "batch_seconds": 2.5}
    assert same(epoch_of(make(spoken, **options), 1), epoch_of(make(spoken, num_workers=2, **options), 1))


def test_memory_has_what_the_files_have(spoken) -> None:
    for one, other in zip(epoch_of(make(spoken), 0), epoch_of(make(spoken, cache=True), 0), strict=True):
        torch.testing.assert_close(one.features, other.features, rtol=0, atol=0.02)
        assert torch.equal(one.tokens, other.tokens)


# batches by seconds


@pytest.mark.parametrize("world", [1, 3])
def test_batches_by_seconds_bring_each_item_once(world) -> None:
    seconds = np.random.default_rng(5).uniform(0.3, 17.0, 211)
    parts = [BucketBatches(seconds, batch_seconds=41.0, seed=7, rank=rank, world=world) for rank in range(world)]
    for epoch in (0, 1):
        batches = [list(part.batches(epoch)) for part in parts]
        assert {len(found) for found in batches} == {len(parts[0])}
        keys = [key for found in batches for batch in found for key in batch]
        assert len(set(keys)) == len(keys) and {key.epoch for key in keys} == {epoch}
        assert len(keys) == 211 if world == 1 else 211 - len(parts[0]) * (world - 1) <= len(keys) <= 211
        for found in batches:
            for number, batch in enumerate(found):
                lengths = [seconds[key.item] for key in batch]
                assert len(batch) == parts[0].wanted(epoch, number)
                assert max(lengths) * len(batch) <= 41.0 and max(lengths) <= 1.2 * min(lengths)
    assert list(parts[0].batches(0)) != list(parts[0].batches(1))
    assert list(parts[0].batches(1, start=3)) == list(parts[0].batches(1))[3:]


@pytest.mark.parametrize("world", [1, 2])
def test_batches_by_seconds_have_no_more_items_than_asked_for(world) -> None:
    seconds = np.random.default_rng(5).uniform(0.3, 2.0, 211)
    parts = [BucketBatches(seconds, batch_seconds=41.0, most=5, seed=7, rank=i, world=world) for i in range(world)]
    sizes = [len(batch) for part in parts for batch in part.batches(0)]
    assert max(sizes) == 5 and sum(sizes) > 211 - len(parts[0]) * world


def test_an_item_longer_than_a_batch_is_a_batch() -> None:
    assert [batch for batch in BucketBatches([90.0], batch_seconds=41.0, seed=0).batches(4)] == [[Key(4, 0)]]
    with pytest.raises(ValueError, match=r"at least as many items of about the same length as processes \(2\)"):
        BucketBatches([1.0, 9.0], batch_seconds=41.0, seed=0, world=2)


def test_few_frames_are_padding_in_batches_by_seconds(spoken) -> None:
    for batch in epoch_of(make(spoken, batch_seconds=2.5), 0):
        assert batch.features is not None
        assert int(batch.lengths.min()) * 1.25 >= batch.features.shape[-1]


# what cannot be used


def test_what_cannot_be_used_is_named_and_replaced(odd) -> None:
    data = make(odd, max_bad_share=0.3)
    with pytest.warns(UserWarning) as caught:
        batches = [batch for epoch in range(2) for batch in epoch_of(data, epoch)]
    assert all(len(batch.indices) == 3 for batch in batches)
    assert not {4, 7, 9} & {place for batch in batches for place in batch.indices.tolist()}
    told = {str(warning.message) for warning in caught}
    assert any(
        "of 13 recordings in train: " in t and "4.wav` must be a recording" in t and "is empty" in t for t in told
    )
    assert any("7.wav` must be a file or folder, but is missing instead" in t for t in told)
    assert any("9.wav` must be at most 2 s long, for that is what the model takes at once" in t for t in told)


def test_too_many_are_an_error(odd) -> None:
    data = make(odd, max_bad_share=0.1)
    with pytest.raises(InputError, match="2 of 13 recordings in train cannot be read"), pytest.warns(UserWarning):
        [epoch_of(data, epoch) for epoch in range(3)]


def test_a_transcript_that_is_too_long_is_named_and_skipped(spoken) -> None:
    data = make(spoken, vocabulary="characters", task={"max_length": 16}, max_bad_share=0.7)
    with pytest.warns(UserWarning, match="the transcript must have at most 15 tokens, for which the decoder has"):
        batches: list[Any] = list(data.val_dataloader())
    kept = [place for batch in batches for place in batch.indices.tolist()]
    assert kept == [i for i in range(5) if len(" ".join(said("validation", i))) + 1 <= 15] and len(kept) < 5


def test_characters_outside_the_vocabulary_are_named_with_their_file(spoken, tmp_path) -> None:
    own = Tokenizer.train(["low high"], kind="characters", vocab_size=31)
    with pytest.raises(
        InputError, match=r"\.wav: the transcript must be in characters that the vocabulary has.*'d', 'e'"
    ):
        epoch_of(make(spoken, task={"tokenizer": own}), 0)
    root = speak(tmp_path / "other")
    lines = (root / "validation" / "metadata.jsonl").read_text().splitlines()
    lines[2] = json.dumps({"file_name": "2.wav", "text": "Naïve"})
    (root / "validation" / "metadata.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"2\.wav: .*, but has 'a', 'n', 'v', 'ï' instead"):
        list(make(root).val_dataloader())


def test_a_transcript_without_words_is_an_error(tmp_path) -> None:
    root = speak(tmp_path / "odd")
    (root / "train" / "metadata.jsonl").write_text(
        '{"file_name": "0.wav", "text": "..."}\n{"file_name": "1.wav", "text": "low"}'
    )
    with pytest.raises(InputError, match=r"0\.wav: no words are left of the transcript '\.\.\.' once it is cleaned"):
        epoch_of(make(root, batch_size=1), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_seconds": 0.0}, "`batch_seconds` must be above 0, but is 0.0 instead"),
        ({"features": "kept", "cache": True}, "`cache` must not come with `features`"),
        ({"batch_size": 14}, r"a training batch has 14 x 1 recordings, but the training split only 13"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message, spoken) -> None:
    with pytest.raises(InputError, match=message):
        make(spoken, **options).train_dataloader()


# augmentation


def test_speed_changes_length_and_pitch() -> None:
    samples = torch.from_numpy(tone(["middle"], seconds=1.0))
    for factor in (0.9, 1.1):
        found = at_speed(samples, factor)
        assert len(found) == pytest.approx(len(samples) / factor, abs=1)
        peak = float(torch.fft.rfft(found).abs().argmax()) * RATE / len(found)
        assert peak == pytest.approx(700 * factor, abs=2)
    assert at_speed(samples, 1.0) is samples


def test_babble_is_made_of_other_recordings() -> None:
    augmentation = AudioAugmentation(speed=(1.0,), gain_db=None, noise=("babble",), noise_db=(0.0, 0.0), noise_share=1)
    low, high = (torch.from_numpy(tone([word], seconds=0.5)) for word in ("low", "high"))
    found = augmentation(low, np.random.default_rng(1), other=lambda rng: high[: int(rng.integers(1000, 4000))])
    power = torch.fft.rfft(found - low).abs().square()
    assert abs(float(power.argmax()) * RATE / len(low) - 1500) < 20
    assert torch.equal(augmentation(low, np.random.default_rng(1), other=lambda rng: torch.zeros(0)), low)


def test_a_recording_played_too_slowly_for_the_model_is_played_as_it_is(tmp_path) -> None:
    (tmp_path / "train").mkdir()
    sf.write(tmp_path / "train" / "a.wav", tone(["low"], seconds=1.9), RATE)
    (tmp_path / "train" / "metadata.csv").write_text("file_name,text\na.wav,low\n")
    augmentation = AudioAugmentation(speed=(0.9,), gain_db=None, noise_share=0)
    (batch,) = epoch_of(make(tmp_path, batch_size=1, augmentation=augmentation), 0)
    assert float(batch.seconds) == pytest.approx(1.9)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"speed": ()}, r"`speed` must be factors from 0.5 to 2, but is \(\) instead"),
        ({"speed": (3.0,)}, "`speed` must be factors from 0.5 to 2"),
        ({"gain_db": (3.0, 1.0)}, "`gain_db` must be two rising numbers"),
        ({"noise_db": (3.0, float("nan"))}, "`noise_db` must be two rising numbers"),
        ({"noise": ("brown",)}, "`noise` must be among white, pink, babble"),
        ({"noise": ()}, "`noise` must be among white, pink, babble"),
        ({"noise_share": 1.5}, "`noise_share` must be from 0 to 1, but is 1.5 instead"),
    ],
)
def test_an_augmentation_that_cannot_be_is_refused(fields, message) -> None:
    with pytest.raises(InputError, match=message):
        AudioAugmentation(**fields)


def test_the_class_is_found_by_its_name() -> None:
    from multiattn import tasks as data

    assert data.TranscribeData is TranscribeData
