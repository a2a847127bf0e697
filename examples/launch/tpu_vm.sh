#!/bin/bash
# Trains on all hosts of a Cloud TPU VM slice:
#
#   TPU=my-slice ZONE=us-central2-b REPO=perceiver examples/launch/tpu_vm.sh \
#     --config=experiments/digits.py:permuted --workdir=/mnt/runs/permuted
#
# The flags go to `python -m perceiver_jax.train` on every host; JAX finds the others by itself.
# REPO is the checkout on the hosts, relative to the home directory, with its environment in .venv
# (`gcloud compute tpus tpu-vm ssh "$TPU" --worker=all --command='git clone … && …'`).
# --workdir has to be on a file system that all hosts share, such as Filestore over NFS.

set -eu

: "${TPU:?the name of the TPU}" "${ZONE:?its zone}" "${REPO:?the checkout on its hosts}"
if [ "$#" -eq 0 ]; then
  set -- --config=experiments/digits.py:permuted --workdir=/mnt/runs/permuted
fi

# On every host: again after a stop on request (75), and after another host's end has ended this
# one (SIGABRT, 134), for as long as this connection stands. Anything else ends the loop.
# shellcheck disable=SC2016  # the dollars are the hosts'
loop='while :; do
  status=0
  .venv/bin/python -u -m perceiver_jax.train "$@" || status=$?
  case "$status" in
    75 | 134) sleep 10 ;;
    *) exit "$status" ;;
  esac
done'

command="cd $(printf '%q' "$REPO") && bash -c $(printf '%q' "$loop") train $(printf '%q ' "$@")"
exec gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$command"
