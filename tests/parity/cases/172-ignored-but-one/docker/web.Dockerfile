FROM python:3.11-slim
WORKDIR /srv
COPY . .
RUN test -f app/app.py && test ! -e chart && test ! -e notes.md && test -f keep/this.md
CMD ["python", "-u", "app/app.py"]
