# Two stages: the first installs the hash-locked requirements and builds the wheel, the second has only what runs.
# ARG BASE may be any image with Python 3.11 or newer as python3, the same in both stages.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY requirements/build.txt requirements/run.txt requirements/
RUN ["python3", "-m", "venv", "/build"]
RUN ["/build/bin/pip", "install", "--no-cache-dir", "--require-hashes", "-r", "requirements/build.txt"]
# Without pip, which the service does not need.
RUN ["python3", "-m", "venv", "--without-pip", "/opt/coc-adapter"]
RUN ["/build/bin/pip", "--python", "/opt/coc-adapter/bin/python3", "install", "--no-cache-dir", "--only-binary=:all:", "--require-hashes", "-r", "requirements/run.txt"]
COPY pyproject.toml README.md LICENSE ./
COPY mappings mappings
COPY adapter adapter
RUN ["/build/bin/python3", "-m", "hatchling", "build", "-t", "wheel", "-d", "/wheel"]
RUN ["/build/bin/pip", "--python", "/opt/coc-adapter/bin/python3", "install", "--no-cache-dir", "--no-index", "--no-deps", "--find-links=/wheel", "coc-adapter"]
RUN ["mkdir", "/data"]

FROM ${BASE}
ARG VERSION=0.2.0
ARG REVISION=""
LABEL org.opencontainers.image.title="coc-adapter" \
      org.opencontainers.image.description="Prometheus Alertmanager to Huawei Cloud COC, with nothing lost" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/coc-adapter/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/coc-adapter /opt/coc-adapter
COPY --from=build --chown=10001:10001 /data /var/lib/coc-adapter
USER 10001:10001
WORKDIR /var/lib/coc-adapter
EXPOSE 9876
ENTRYPOINT ["coc-adapter"]
CMD ["serve", "--config.file=/etc/coc-adapter/adapter.yml", "--web.listen-address=:9876"]
