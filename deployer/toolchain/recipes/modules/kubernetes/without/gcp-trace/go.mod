module github.com/GoogleCloudPlatform/opentelemetry-operations-go/exporter/trace

go 1.26.0
