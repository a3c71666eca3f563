# One image for the sweep's head, its workers and single commands.
#
#   DEVICE=cpu   torch from PyTorch's own wheels for CPUs, in the version of requirements/base.lock
#   DEVICE=cuda  torch from the Python package index, several GB with the CUDA libraries that it brings
#
# From the slowest to change to the quickest: a change of the code reinstalls nothing.
FROM debian:12.15-slim

# torch compiles solver steps with the system's compiler, against Python's headers.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates g++ python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv \
    && useradd --uid 10001 --create-home odenet \
    && install --directory --owner odenet --group odenet /var/lib/odenet /data

ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1

# All but torch and what it brings for GPUs.
COPY requirements/base.lock /opt/base.lock
RUN awk '/^[a-z]/ { kept = /^nvidia-ml-py==/ || !/^(torch|torchvision|triton|nvidia-[^=]*|cuda-[^=]*)==/ } kept' /opt/base.lock >/opt/rest.lock \
    && pip install --no-cache-dir --require-hashes --no-deps --requirement /opt/rest.lock

ARG DEVICE=cpu
ARG CPU_WHEELS=https://download.pytorch.org/whl/cpu
RUN case "$DEVICE" in \
        cpu) \
            sed -nE 's/^((torch|torchvision)==[^\\]+).*/\1/p' /opt/base.lock >/opt/torch.txt \
            && pip install --no-cache-dir --no-deps --index-url "$CPU_WHEELS" --requirement /opt/torch.txt ;; \
        cuda) pip install --no-cache-dir --require-hashes --no-deps --requirement /opt/base.lock ;; \
        *) echo "DEVICE is cpu or cuda, not $DEVICE" >&2; exit 1 ;; \
    esac

WORKDIR /opt/odenet
COPY pyproject.toml README.md ./
COPY omniboard omniboard
COPY pipeline pipeline
COPY experiments experiments
COPY odenet odenet
COPY stack stack
# A checkout under umask 077 is its owner's alone.
RUN chmod -R a+rX . \
    && pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && pip check \
    && python -m compileall -q odenet experiments pipeline stack

ENV ODENET_HOME=/var/lib/odenet ODENET_DATA=/data
USER odenet
WORKDIR /var/lib/odenet
ENTRYPOINT ["odenet"]
