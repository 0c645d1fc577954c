# Meshweir as a container: the locked run-time dependencies, kernels compiled once, no root, nothing
# written but /tmp and /var/lib/meshweir. Built and run by docker-compose.yml; see docs/containers.md.
ARG PYTHON=3.11.13-slim-bookworm

FROM python:${PYTHON} AS build
ENV UV_PROJECT_ENVIRONMENT=/opt/meshweir/venv \
    UV_PYTHON_DOWNLOADS=never \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /source
ARG EXTRAS="--extra ducklake"
# dependencies first: they change less often than Meshweir
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-default-groups ${EXTRAS} --no-install-project
COPY api/ api/
COPY collectors/ collectors/
COPY pipeline/ pipeline/
RUN uv sync --frozen --no-default-groups ${EXTRAS} --no-editable
# for any processor of the kind, not the one that builds: else each container would compile again
ENV NUMBA_CPU_NAME=generic \
    NUMBA_CACHE_DIR=/opt/meshweir/kernels
RUN /opt/meshweir/venv/bin/python -P -m pipeline
COPY deploy/entrypoint.sh deploy/healthcheck.py /opt/meshweir/

FROM python:${PYTHON}
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin meshweir \
    && install -d -o meshweir -g meshweir -m 750 /var/lib/meshweir
COPY --from=build /opt/meshweir /opt/meshweir
ENV PATH=/opt/meshweir/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CPU_NAME=generic \
    NUMBA_CACHE_DIR=/opt/meshweir/kernels \
    MESHWEIR_DATA=/var/lib/meshweir
USER 10001:10001
WORKDIR /tmp
VOLUME /var/lib/meshweir
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-I", "/opt/meshweir/healthcheck.py"]
ENTRYPOINT ["/opt/meshweir/entrypoint.sh", "meshweir"]
CMD ["up"]
