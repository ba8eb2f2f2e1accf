# The server in a small image, without root. docs/docker.md says how to run it.
#
#   docker build --tag execgate .
#
# Both bases are arguments, for mirrors, pins and machines without a registry. A runtime base
# that has bash, git and ps gets nothing installed, a builder base that has the crates needs
# no network; `make test` builds this very file that way.

ARG BUILDER_IMAGE=rust:1-slim-trixie
ARG RUNTIME_IMAGE=debian:trixie-slim

# The dependencies, compiled in layers that change with the manifests only. Cargo wants a
# source file for each member of the workspace and each benchmark that a manifest names, and
# an empty one will do.
FROM ${BUILDER_IMAGE} AS dependencies
# A profile of Cargo: `release`, or `dev` for a build that is there sooner.
ARG PROFILE=release
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY proto/Cargo.toml proto/
COPY server/Cargo.toml server/
COPY server/core/Cargo.toml server/core/
COPY server/engine/Cargo.toml server/engine/
COPY client-rs/Cargo.toml client-rs/
COPY tests/Cargo.toml tests/
RUN for member in proto server server/core server/engine client-rs tests; do \
        mkdir -p "$member/src" && touch "$member/src/lib.rs" || exit; \
    done \
    && mkdir server/core/benches \
    && touch server/core/benches/micro.rs server/core/benches/instructions.rs \
    && echo 'fn main() {}' | tee proto/build.rs >server/src/main.rs \
    && cargo build --locked --profile "$PROFILE" --package execgate-server --bin execgate \
    && rm -r proto server

FROM dependencies AS builder
ARG PROFILE=release
COPY . .
# Cargo goes by the time of a change, and these may be older than what stood in for them.
RUN find proto server -type f -exec touch {} + \
    && cargo build --locked --profile "$PROFILE" --package execgate-server --bin execgate \
    && install --strip target/*/execgate execgate

FROM ${RUNTIME_IMAGE}
# git for checkpoints and for what agents do; ps and its like for them too.
RUN if ! { command -v bash && command -v git && command -v ps; } >/dev/null; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends bash ca-certificates git procps \
        && rm -rf /var/lib/apt/lists/* || exit; \
    fi \
    && groupadd --system --gid 10001 execgate \
    && useradd --system --uid 10001 --gid 10001 --create-home --home-dir /home/execgate \
        --shell /usr/sbin/nologin execgate \
    && install --directory --mode=0711 /var/lib/execgate \
    && install --directory --owner=execgate --group=execgate --mode=0700 /var/lib/execgate/data
COPY --from=builder /src/execgate /usr/local/bin/execgate
COPY LICENSE /usr/share/doc/execgate/LICENSE

LABEL org.opencontainers.image.title="execgate" \
    org.opencontainers.image.description="Safe, stateful shell sessions for agents, over gRPC" \
    org.opencontainers.image.source="https://github.com/execgate/execgate" \
    org.opencontainers.image.licenses="Apache-2.0"

USER 10001:10001
ENV HOME=/home/execgate EXECGATE_DATA_DIR=/var/lib/execgate/data
WORKDIR /home/execgate
# Token, keys, audit log, and the socket that clients come to.
VOLUME /var/lib/execgate/data
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/usr/local/bin/execgate", "health"]
# The server ends its sessions and drains.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/execgate"]
CMD ["serve"]
