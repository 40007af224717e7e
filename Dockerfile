# One image for every function: FUNCTION_TARGET and FUNCTION_SOURCE choose when the process starts (knative/functions/).
# Built by `docker build -t dev.local/lastro:kind .`; a release names its base by digest:
#   docker build --build-arg PYTHON=python:3.13-slim-trixie@sha256:… -t <registry>/lastro .
ARG PYTHON=python:3.13-slim-trixie

FROM ${PYTHON} AS build
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY events events
COPY functions functions
COPY shared shared
# Without bytecode a cold start takes four times as long. The files never change, so nobody need look at their dates.
RUN /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /venv/lib /app

FROM ${PYTHON}
# The base leaves its standard library's bytecode out.
RUN python -m compileall -q --invalidation-mode unchecked-hash -x '/(test|tests|site-packages)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8080
# The framework's application, between the opening and the closing of what the function needs.
CMD ["python", "-m", "uvicorn", "--factory", "shared.functions.application:application", \
    "--host", "0.0.0.0", "--port", "8080", "--no-access-log", "--timeout-graceful-shutdown", "20"]
