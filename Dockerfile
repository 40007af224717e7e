# One image for all functions: FUNCTION_TARGET and FUNCTION_SOURCE select one at start (knative/functions/).
# Build it with `docker build -t dev.local/lastro:kind .`. The base image is named by its digest (Python 3.13.15 on Debian
# 13.6, as of September 2026); another one, of a mirror of yours, too:
#   docker build --build-arg PYTHON=<mirror>/python:3.13-slim-trixie@sha256:… -t <registry>/lastro .
ARG PYTHON=python:3.13-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285

FROM ${PYTHON} AS build
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY events events
COPY functions functions
COPY shared shared
# Without bytecode a cold start takes four times as long. The files never change, so their dates need not be checked.
RUN /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /venv/lib /app

FROM ${PYTHON}
LABEL org.opencontainers.image.title="lastro" \
    org.opencontainers.image.description="The functions of Lastro; FUNCTION_TARGET selects one" \
    org.opencontainers.image.licenses="Apache-2.0"
# The base image has no bytecode of the standard library.
RUN python -m compileall -q --invalidation-mode unchecked-hash -x '/(test|tests|site-packages)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8080
# The application of the framework, with the runtime opened at its start and closed at its end.
CMD ["python", "-m", "uvicorn", "--factory", "shared.functions.application:application", \
    "--host", "0.0.0.0", "--port", "8080", "--no-access-log", "--timeout-graceful-shutdown", "20"]
