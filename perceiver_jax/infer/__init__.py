"""Trained models at work: classify, fill masks in text, flow, autoencoding, tags, attention maps.

  loaded.py            a checkpoint and its model, compiled once
  images.py            image files to the arrays that the models were trained on
  classify.py          images to class names; other resolutions
  class_names/         of ImageNet and Kinetics
  fill_mask.py         text with holes to text
  flow.py              frames to optical flow
  autoencode.py        videos with sound, through the bottleneck and back
  tagging.py           sound and video to class names over time; tag_files.py draws it
  attention_maps.py    what latents looked at; attention_plots.py draws it
  *_files.py           reading and writing sound, points, flow and video
  commands/            the same from the command line: python -m perceiver_jax.predict

Functions that compute take a `LoadedModel` and arrays and return NumPy arrays; reading and writing
files is separate from it.
"""
