# In the place of nginx:*: Debian's nginx, laid out as upstream's image is.
ARG BASE
FROM ${BASE}
ARG CA=/etc/todo-deploy/ca-bundle.crt
ENV SSL_CERT_FILE=${CA} CURL_CA_BUNDLE=${CA}
RUN groupadd --system --gid 101 nginx \
 && useradd --system --uid 101 --gid nginx --home-dir /nonexistent --shell /bin/false nginx \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nginx ca-certificates tzdata \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && cp ${CA} /etc/ssl/certs/ca-certificates.crt \
 && rm -rf /etc/nginx/sites-enabled /etc/nginx/sites-available /etc/nginx/modules-enabled /etc/nginx/conf.d/* \
 && mkdir -p /usr/share/nginx/html
COPY nginx.conf /etc/nginx/nginx.conf
COPY nginx-default.conf /etc/nginx/conf.d/default.conf
RUN ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log \
 && mkdir -p /var/cache/nginx && chown nginx:nginx /var/cache/nginx \
 && nginx -t && rm -f /run/nginx.pid
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
