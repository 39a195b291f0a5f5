#!/usr/bin/env bash
# What people write by hand: build into Minikube's daemon, a Secret from .env, helm, and wait for the rollout.
# PROFILE is Minikube's; further arguments go to helm. In a copy where backend and frontend are copies of server.
set -euo pipefail
cd "$(dirname "$0")"
namespace=bench-script
kubectl=(kubectl --context "$PROFILE" --namespace "$namespace")

eval "$(minikube --profile "$PROFILE" docker-env)"
backend=$(docker build --quiet ${PYTHON_IMAGE:+--build-arg "PYTHON_IMAGE=$PYTHON_IMAGE"} backend)
frontend=$(docker build --quiet ${PYTHON_IMAGE:+--build-arg "PYTHON_IMAGE=$PYTHON_IMAGE"} frontend)
docker tag "$backend" "bench-backend:${backend:7:12}"
docker tag "$frontend" "bench-frontend:${frontend:7:12}"

kubectl --context "$PROFILE" create namespace "$namespace" --dry-run=client -o yaml |
  kubectl --context "$PROFILE" apply -f - > /dev/null
"${kubectl[@]}" create secret generic bench-secrets --from-env-file=.env --dry-run=client -o yaml |
  "${kubectl[@]}" apply -f - > /dev/null
helm upgrade --install bench chart --kube-context "$PROFILE" --namespace "$namespace" \
  --set "images.backend.tag=${backend:7:12},images.frontend.tag=${frontend:7:12},nodePort=30991" \
  --set "secretChecksum=$(sha256sum .env | cut -c1-16)" "$@" > /dev/null
"${kubectl[@]}" rollout status deployment/backend --timeout=120s > /dev/null
"${kubectl[@]}" rollout status deployment/frontend --timeout=120s > /dev/null
