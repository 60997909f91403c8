# The reference application: the library, what actors/ needs beside it, and actors/. For a service of your own, copy
# your modules instead of actors/ and name them in CMD.
FROM python:3.12.13-slim-trixie

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /application

# The image's pip is too old for --group.
COPY constraints.txt ./
RUN pip install --constraint constraints.txt pip

COPY pyproject.toml README.md LICENSE ./
COPY runtime ./runtime
RUN pip install --constraint constraints.txt --build-constraint constraints.txt . --group actors

COPY actors ./actors

RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin callboard \
    && install --directory --owner callboard --group callboard /data
USER callboard

# Where actors.flights keeps what it was told; a volume there outlives the container.
ENV FLIGHTS_STORE=/data/flights.sqlite

CMD ["callboard", "run", "actors.flights"]
