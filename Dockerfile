# The daemon alone: no compiler, no shell needed, no root. Build: docker build -t runbridge .
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY bridge ./bridge
# Both names, so that the build backend is the pinned one whichever pip this is.
ENV PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
RUN python -m venv --without-pip /opt/runbridge \
 && python -m pip --python /opt/runbridge/bin/python install --no-cache-dir '.[embedded]'

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="runbridge" \
      org.opencontainers.image.description="Run event streams and named events in, Redis Streams and signed webhooks out." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/runbridge /opt/runbridge
ENV PATH=/opt/runbridge/bin:$PATH PYTHONUNBUFFERED=1
# A number, so that an orchestrator can see that it isn't root.
USER 65532:65532
EXPOSE 8380
# The daemon handles SIGTERM itself, also as process 1: it drains for at most `grace` (20 s).
STOPSIGNAL SIGTERM
ENTRYPOINT ["runbridge"]
CMD ["run", "--config", "/etc/runbridge/bridge.toml"]
