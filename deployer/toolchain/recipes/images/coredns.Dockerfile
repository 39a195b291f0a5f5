FROM scratch
COPY coredns /coredns
EXPOSE 53/tcp 53/udp
ENTRYPOINT ["/coredns"]
