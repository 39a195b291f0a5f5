FROM python:3.11-slim AS tools
RUN pip install build
COPY . .
FROM python:3.11-slim
COPY --from=tools . /tools
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY --chown=1001 . /srv
RUN pip install \
    -r more.txt
