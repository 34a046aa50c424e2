# syntax=docker/dockerfile:1
# Two images from one lock: `--target operator` (no torch, no ray) and `--target trainer` (the Ray head and workers).
# BASE_IMAGE is any image with a Python of at least 3.11 as `python`, with venv, on Debian or Ubuntu.
ARG BASE_IMAGE=python:3.11-slim

# What both images share: the user, who is a number, and whose home is writable whichever number a cluster picks.
FROM ${BASE_IMAGE} AS common
RUN groupadd --gid 65532 thaw \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /home/thaw --shell /bin/bash thaw \
    && install --directory --mode 1777 /home/thaw
ENV PATH=/opt/thaw/bin:${PATH} \
    HOME=/home/thaw \
    PYTHONUNBUFFERED=1
WORKDIR /home/thaw

# What the packages depend on, and nothing else: a change of a tool's settings or of thaw's sources moves no package.
# The lock is a constraint: it has the versions and hashes of all extras, of which an image needs some, and a file
# with another hash than the lock's is refused.
FROM common AS lock
COPY pyproject.toml requirements.lock /opt/lock/
RUN sed --in-place '/^\[dependency-groups\]/,$d' /opt/lock/pyproject.toml

FROM common AS operator-packages
ARG UV_VERSION=0.13.9
COPY --from=lock /opt/lock /opt/lock
RUN python -m venv /tmp/uv && /tmp/uv/bin/pip install --no-cache-dir --quiet uv==${UV_VERSION} \
    && /tmp/uv/bin/uv venv --python "$(command -v python)" /opt/thaw \
    && UV_COMPILE_BYTECODE=1 /tmp/uv/bin/uv pip install --no-cache --python /opt/thaw/bin/python \
       --constraints /opt/lock/requirements.lock --requirements /opt/lock/pyproject.toml --extra operator \
    && rm -rf /tmp/uv

FROM common AS trainer-packages
# KubeRay's probes of the head's pod call wget, unless the Ray that it is told of has its own.
RUN command -v wget || (apt-get update && apt-get install --yes --no-install-recommends wget && rm -rf /var/lib/apt/lists/*)
ARG UV_VERSION=0.13.9
# More packages, with the lock's version if it has them: a model that comes in one, say.
ARG EXTRA_PACKAGES=
COPY --from=lock /opt/lock /opt/lock
RUN python -m venv /tmp/uv && /tmp/uv/bin/pip install --no-cache-dir --quiet uv==${UV_VERSION} \
    && /tmp/uv/bin/uv venv --python "$(command -v python)" /opt/thaw \
    && UV_COMPILE_BYTECODE=1 /tmp/uv/bin/uv pip install --no-cache --python /opt/thaw/bin/python \
       --constraints /opt/lock/requirements.lock --requirements /opt/lock/pyproject.toml \
       --extra trainer --extra cluster ${EXTRA_PACKAGES} \
    && rm -rf /tmp/uv

# thaw alone, in an environment at the same place: the last layer of both images, and a small one.
FROM common AS thaw
ARG UV_VERSION=0.13.9
RUN python -m venv /tmp/uv && /tmp/uv/bin/pip install --no-cache-dir --quiet uv==${UV_VERSION} \
    && /tmp/uv/bin/uv venv --python "$(command -v python)" /opt/thaw
COPY . /src
RUN UV_COMPILE_BYTECODE=1 /tmp/uv/bin/uv pip install --no-cache --no-deps --python /opt/thaw/bin/python /src

FROM operator-packages AS operator
COPY --from=thaw /opt/thaw /opt/thaw
USER 65532:65532
ENTRYPOINT ["thaw-operator"]

FROM trainer-packages AS trainer
COPY --from=thaw /opt/thaw /opt/thaw
USER 65532:65532
CMD ["python"]
