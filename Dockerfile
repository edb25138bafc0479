# One image for every service; the command says which. Needs a MongoDB: --mongodb URI.
FROM python:3.12-slim AS built
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /opt/throughline \
 && /opt/throughline/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY standards standards
COPY affinity affinity
COPY governance governance
COPY chassis chassis
COPY pix pix
COPY registry registry
COPY repository repository
COPY auth auth
COPY conformance conformance
COPY audit audit
COPY exchange exchange
RUN /opt/throughline/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home throughline && mkdir /data && chown throughline /data
COPY --from=built /opt/throughline /opt/throughline
ENV PATH=/opt/throughline/bin:$PATH THROUGHLINE_DATA=/data THROUGHLINE_HOST=0.0.0.0
USER throughline
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["throughline"]
CMD ["serve", "together"]
