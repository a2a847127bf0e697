"""Hugging Face files that are damaged, changed, or of other models."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from perceiver_jax.checkpoints import huggingface
from perceiver_jax.errors import CheckpointError, ModelError
from tests.checkpoints import hf_small


class TestRefused:
    def refused(self, path, words):
        with pytest.raises(CheckpointError, match=words) as caught:
            huggingface.read(path)
        return str(caught.value)

    def tensors(self, folder, change):
        hf_small.copy("vision-perceiver-fourier", folder)
        tensors = load_file(folder / "model.safetensors")
        save_file(change(tensors), folder / "model.safetensors")
        return folder

    def test_missing_and_unexpected_tensors(self, tmp_path):
        def change(tensors):
            moved = "perceiver.encoder.cross_attention.layernorm.bias"
            tensors["surplus"] = tensors.pop(moved)
            return tensors

        message = self.refused(self.tensors(tmp_path / "x", change), "ImageClassificationFourier")
        assert "missing: perceiver.encoder.cross_attention.layernorm.bias" in message
        assert "unexpected: surplus" in message

    def test_a_tensor_of_a_wrong_shape(self, tmp_path):
        def change(tensors):
            name = "perceiver.encoder.cross_attention.layernorm.bias"
            return {**tensors, name: np.zeros(3, np.float32)}

        with pytest.raises(ModelError, match=r"cross_attention/layer_norm_2/offset \[3\]"):
            huggingface.read(self.tensors(tmp_path / "x", change))

    def test_ignored_tensors(self, tmp_path):
        def change(tensors):
            return {**tensors, "perceiver.embeddings.position_ids": np.arange(3)}

        loaded = huggingface.read(self.tensors(tmp_path / "x", change))
        assert "perceiver.embeddings" not in loaded.params

    def test_another_model(self, tmp_path):
        save_file({"bert.embeddings.weight": np.zeros(3, np.float32)}, tmp_path / "x.safetensors")
        assert huggingface.is_huggingface(tmp_path / "x.safetensors")
        self.refused(tmp_path / "x.safetensors", "bert.embeddings.weight")

    def test_damaged_files(self, tmp_path):
        hf_small.copy("vision-perceiver-fourier", tmp_path / "x")
        weights = tmp_path / "x" / "model.safetensors"
        data = weights.read_bytes()
        weights.write_bytes(data[: len(data) // 2])
        self.refused(tmp_path / "x", "damaged or cut off")
        weights.write_bytes(data)
        (tmp_path / "x" / "config.json").write_text("{")
        self.refused(tmp_path / "x", "config.json cannot be read as JSON")
        weights.unlink()
        self.refused(tmp_path / "x", "no weights: expected one of model.safetensors")
        self.refused(tmp_path / "nothing", "does not exist")

    def test_values_of_config_json(self, tmp_path):
        name = "optical-flow-perceiver"
        for i, (changes, words) in enumerate(
            (
                ({"num_blocks": "two"}, "num_blocks='two'; expected a whole number"),
                ({"num_blocks": 10**9}, "num_blocks=1000000000 is more than 1000"),
                ({"num_self_attends_per_block": 4}, "the weights have 3 self-attends"),
                ({"train_size": [12]}, r"train_size=\[12\]; expected 2 whole numbers"),
                ({"hidden_act": "relu"}, "hidden_act='relu'; these models have GELU"),
                ({"num_self_attention_heads": 3}, "not divisible by self_attend_heads=3"),
                ({"cross_attention_shape_for_attention": "x"}, "must be 'kv' or 'q'"),
                ({"perceiver_jax": {"config": {"__class__": "os:system"}}}, "os:system"),
                ({"perceiver_jax": {"version": 9}}, "cannot be read"),
            )
        ):
            self.refused(hf_small.changed_config(name, tmp_path / str(i), **changes), words)

    def test_tanh_gelu_is_kept(self, tmp_path):
        path = hf_small.changed_config(
            "optical-flow-perceiver", tmp_path / "x", hidden_act="gelu_new"
        )
        assert not huggingface.read(path, numerics="huggingface").config.exact_gelu
