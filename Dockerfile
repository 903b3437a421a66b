# For machines with a GPU (NVIDIA driver and container toolkit); without one it runs on the processor.
#
#   docker build -t defensive-tensorization .
#   docker run --rm --gpus all -v "$PWD/runs:/app/runs" -v "$PWD/data:/app/data:ro" \
#       defensive-tensorization dataset=cifar10 dataset.source=folder dataset.root=data scale=fast theta=0.9
#   docker run --rm defensive-tensorization doctor
#
# Without a GPU, `docker build --target try .` sets up and runs the quickstart: all but CUDA is tried.
# CUDA's libraries come with the lock's torch; the driver is the machine's.
# Not tried: the file has been linted (hadolint), and no image of it has been built yet.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm AS setup
# hadolint ignore=DL3008 # Debian drops old versions, so a pinned one could soon not be built
RUN apt-get update \
    && apt-get install -y --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*
# Runs are written by this user: give runs/ to it, or pass --user "$(id -u):$(id -g)".
RUN useradd --create-home --uid 1000 dt && install -d -o dt /app /app/runs /app/data
USER 1000
WORKDIR /app
ENV OMP_NUM_THREADS=4 PYTHONUNBUFFERED=1
# With .git, rows name the commit that made them.
COPY --chown=dt . .
RUN make setup PYTHON=python3 && .venv/bin/defensive-tensorization doctor

FROM setup AS try
RUN make quickstart ARGS="logger=none"

FROM setup
VOLUME ["/app/runs", "/app/data"]
ENTRYPOINT [".venv/bin/defensive-tensorization"]
CMD ["--help"]
