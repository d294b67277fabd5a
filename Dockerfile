# syntax=docker/dockerfile:1
# An image with one file in it that runs: the program, linked statically with musl, so that it needs no system around it.
# (With glibc a static program would still look for the system's libraries whenever it resolves a name.)
# Tried: this target on x86-64, without --release, and the program alone in an empty root as this user. Not tried, for want
# of a container engine: the image itself; nor the target on other processors.

FROM docker.io/library/rust:1.95-bookworm AS build
# musl-gcc compiles librdkafka, OpenSSL, zlib and zstd; perl and make are what OpenSSL is configured and built with.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates cmake make musl-tools perl \
    && rm -rf /var/lib/apt/lists/*
RUN rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /source
COPY . .
# Caches are the builder's, never the image's. What is not static does not pass.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    target="$(uname -m)-unknown-linux-musl" \
    && cargo build --release --locked --package broker --target "$target" \
    && mkdir -p /data /image/etc/ssl/certs \
    && cp "target/$target/release/catchment" /image/catchment \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && ! readelf --program-headers /image/catchment | grep --quiet INTERP

FROM scratch
LABEL org.opencontainers.image.title="Catchment" \
      org.opencontainers.image.description="A CloudEvents broker that speaks Knative Eventing's API" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
# Where a volume is mounted belongs to the user that writes there, and nothing else does.
COPY --from=build --chown=65532:65532 /data/ /var/lib/catchment/
# Of its own the program listens on loopback only, where nothing outside of the container comes.
ENV CATCHMENT_LISTEN=0.0.0.0:8080 \
    CATCHMENT_ADMIN=0.0.0.0:8081 \
    CATCHMENT_DATA=/var/lib/catchment \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
EXPOSE 8080 8081
VOLUME /var/lib/catchment
# By number, which is how Kubernetes can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/catchment"]
CMD ["serve"]
