# One image for the web server and the workers; see compose.yaml. The root file system needs no writing but /data and /tmp.
#
#   docker build -t plumbline .                                                        CPU
#   docker build -t plumbline --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .    CUDA
FROM python:3.11-slim-trixie

# Where pip looks for torch first: builds for the CPU are a fifth of the size of those with CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG UV_VERSION=0.13.8

# pg_dump for `manage.py backup`; it must not be older than the server in compose.yaml. Its version is not pinned: a fixed
# one would vanish from Debian's mirrors at the next security update.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends postgresql-client \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY requirements/torch.txt requirements/run.txt requirements/
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -r requirements/torch.txt "uv==$UV_VERSION" \
 && uv pip install --system --no-cache --compile-bytecode --no-deps --require-hashes -r requirements/run.txt

COPY . .
# Compiled here, as the libraries are above: nothing of it can be written to when it runs.
RUN python -m compileall -q annotate config models_registry training

# A number, not a name, so that an orchestrator can see that it is not root.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin plumbline && install -d -o 10001 -g 10001 -m 0700 /data
USER 10001:10001

# Libraries keep caches in HOME; /tmp is there to be written to.
ENV DATA_DIR=/data HOST=0.0.0.0 LOG_FORMAT=json PYTHONUNBUFFERED=1 HOME=/tmp
VOLUME /data
EXPOSE 8000
CMD ["python", "-m", "gunicorn", "-c", "python:config.gunicorn", "config.wsgi"]
