{{- define "gvList" -}}
# API reference

Made of the types in [api/v1alpha1](../api/v1alpha1) by `make generate`.
{{ range . }}
{{ template "gvDetails" . }}
{{ end }}
{{- end -}}
