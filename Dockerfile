# Two images from one source: `--target api` and `--target operator`. Everything is installed from the lock files.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY tests/build-requirements.lock ./
RUN python3 -m venv /opt/build && /opt/build/bin/pip install -q --require-hashes -r build-requirements.lock

FROM build AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY manifests/crd.yaml manifests/
COPY api/inventory_api api/inventory_api
COPY operator/inventory_operator operator/inventory_operator
RUN /opt/build/bin/pip wheel -q --no-deps --no-build-isolation --wheel-dir /dist .

# The virtual environments have no pip: nothing can be installed into a running container.
FROM build AS api-venv
COPY api/requirements.lock ./
RUN python3 -m venv --without-pip /opt/venv \
 && /opt/build/bin/pip --python /opt/venv/bin/python install -q --no-deps --require-hashes -r requirements.lock
COPY --from=wheel /dist /dist
RUN /opt/build/bin/pip --python /opt/venv/bin/python install -q --no-deps /dist/*.whl

FROM build AS operator-venv
COPY operator/requirements.lock ./
RUN python3 -m venv --without-pip /opt/venv \
 && /opt/build/bin/pip --python /opt/venv/bin/python install -q --no-deps --require-hashes -r requirements.lock
COPY --from=wheel /dist /dist
RUN /opt/build/bin/pip --python /opt/venv/bin/python install -q --no-deps /dist/*.whl

FROM ${PYTHON_IMAGE} AS runtime
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001

FROM runtime AS api
ARG VERSION=
ENV INVENTORY_VERSION=${VERSION}
COPY --from=api-venv /opt/venv /opt/venv
EXPOSE 8000
ENTRYPOINT ["inventory-api"]
CMD ["serve"]

FROM runtime AS operator
ARG VERSION=
ENV INVENTORY_VERSION=${VERSION}
COPY --from=operator-venv /opt/venv /opt/venv
EXPOSE 8080
ENTRYPOINT ["inventory-operator"]
CMD ["run"]
