# Built in services/shelf.
ARG FLAVOUR=slim
FROM docker.io/library/python:3.11-${FLAVOUR} AS tested
COPY shelf.py /opt/
RUN python -m py_compile /opt/shelf.py

FROM docker.io/library/python:3.11-${FLAVOUR}
COPY --from=tested /opt/shelf.py /opt/shelf.py
RUN mkdir /shelf && chown 10002 /shelf
USER 10002
EXPOSE 7070/tcp
CMD ["python", "/opt/shelf.py"]
