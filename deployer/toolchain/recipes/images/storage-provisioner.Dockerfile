FROM scratch
COPY storage-provisioner /storage-provisioner
ENTRYPOINT ["/storage-provisioner"]
