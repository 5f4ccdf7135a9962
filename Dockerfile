# One image for `zart migrate`, `zart worker` and `zart api`; compose.yaml says which is which.

FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
# The lock pins each dependency and its hashes; only what the five wheels need is taken from it.
RUN uv="$(scripts/find-uv)" \
    && "$uv" build --quiet --all-packages --wheel --out-dir dist \
    && "$uv" venv --quiet /opt/zart \
    && "$uv" pip install --quiet --python /opt/zart --constraint requirements.lock dist/*.whl

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin zart
COPY --from=build /opt/zart /opt/zart
WORKDIR /app
COPY examples examples
ENV PATH=/opt/zart/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ZART_LOG_FORMAT=json
USER zart
ENTRYPOINT ["zart"]
CMD ["--help"]
