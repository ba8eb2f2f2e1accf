# The server in a small image, without root. Base images are arguments, for mirrors and pins:
#
#   docker build --build-arg RUST_IMAGE=... --build-arg RUNTIME_IMAGE=... --tag execgate .
#   docker run --rm --init --volume execgate:/var/lib/execgate execgate
#
# The server listens on a Unix socket in its data directory and on loopback inside the
# container, never on an open port: talk to it from a container that shares its network or
# its volume. There is no HEALTHCHECK yet: the binary has no command to probe itself with.

ARG RUST_IMAGE=rust:1-slim-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS builder
WORKDIR /src
COPY . .
RUN cargo build --locked --release --package execgate-server --bin execgate \
    && strip target/release/execgate

FROM ${RUNTIME_IMAGE}
# git for checkpoints and for what agents do; ps and friends for them too.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bash ca-certificates git procps \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /home/execgate --shell /usr/sbin/nologin execgate \
    && install --directory --owner=execgate --group=execgate --mode=0700 /var/lib/execgate
COPY --from=builder /src/target/release/execgate /usr/local/bin/execgate
COPY --from=builder /src/LICENSE /usr/share/doc/execgate/LICENSE
USER execgate
WORKDIR /home/execgate
ENV EXECGATE_DATA_DIR=/var/lib/execgate
VOLUME /var/lib/execgate
# The server ends sessions and drains on SIGTERM.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/execgate"]
CMD ["serve"]
