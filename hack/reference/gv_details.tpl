{{- define "gvDetails" -}}
Everything is in `{{ .GroupVersionString }}`. Kinds:
{{ range .SortedKinds }}
- {{ $.TypeForKind . | markdownRenderTypeLink }}
{{- end }}
{{ range .SortedTypes }}
{{ template "type" . }}
{{- end }}
{{- end -}}
