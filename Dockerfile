# The operator, the reflector and the command, in one image. scripts/build-image makes it.
#
# BASE_IMAGE is any Debian with Python 3.11 or later and pip, on amd64 or arm64. There is no compiler in either stage:
# what has no binary wheel and is not pure Python fails here, not on somebody's node.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /src
# The dependencies alone, first: they change seldom, and this layer is kept.
COPY pyproject.toml ./
RUN python -m venv --without-pip /usr/local/lib/pantograph \
    && python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        >requirements.txt \
    && python -m pip --python /usr/local/lib/pantograph/bin/python install --no-cache-dir -r requirements.txt \
    # The client again, for asyncio, and a class for each API group and kind: 110 MB that nothing imports, but for Leases.
    && cd /usr/local/lib/pantograph/lib/python3*/site-packages/kubernetes && rm -r aio client/models/__pycache__/v[0-9]* \
    && find client/api -type f ! -name __init__.py ! -name coordination_v1_api.py -delete
COPY README.md LICENSE ./
COPY operator operator
RUN python -m pip --python /usr/local/lib/pantograph/bin/python install --no-cache-dir --no-deps .

FROM ${BASE_IMAGE}
# The clients that drivers load: Firebird's own; for SQL Server unixODBC and FreeTDS. The others bring theirs.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libfbclient2 tdsodbc unixodbc \
    # Firebird's common files come with a script in Perl for its server: 56 MB.
    && dpkg --purge --force-depends $(dpkg-query -W -f '${Package} ' perl 'perl-modules-*' 'libperl5*' 'libgdbm*') \
    && rm -rf /usr/share/doc /usr/share/man /var/lib/apt/lists/* /var/cache/apt/* /var/log/*.log /var/log/apt/* \
    # A name for the number: libraries ask who they are.
    && groupadd --gid 10001 pantograph \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin pantograph
COPY --from=build /usr/local/lib/pantograph /usr/local/lib/pantograph
# Nothing is written but to /tmp, so the root file system may be read-only.
ENV PATH=/usr/local/lib/pantograph/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
ENTRYPOINT ["pantograph"]

ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="Pantograph" \
      org.opencontainers.image.description="Live copies of SQL tables: operator, reflector and command" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
