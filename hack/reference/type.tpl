{{- define "type" -}}
{{- $type := . -}}
{{- if markdownShouldRenderType $type }}
## {{ $type.Name }}
{{ if $type.IsAlias }}
A {{ markdownRenderTypeLink $type.UnderlyingType }}.
{{ end }}
{{ $type.Doc }}
{{ if $type.References }}
Appears in:{{ range $type.SortedReferences }} {{ markdownRenderTypeLink . }}{{ end }}
{{ end }}
{{- if $type.Members }}
| field | type | what it is | default | validation |
|---|---|---|---|---|
{{ if $type.GVK -}}
| `apiVersion` | string | `{{ $type.GVK.Group }}/{{ $type.GVK.Version }}` | | |
| `kind` | string | `{{ $type.GVK.Kind }}` | | |
{{ end -}}
{{ range $type.Members -}}
| `{{ .Name }}` | {{ markdownRenderType .Type }} | {{ template "type_members" . }} | {{ markdownRenderDefault .Default }} | {{ range $i, $v := .Validation }}{{ if $i }}; {{ end }}{{ markdownRenderFieldDoc $v | replace ": \\{\\}" "" }}{{ end }} |
{{ end -}}
{{ end -}}
{{- if $type.EnumValues }}
| value | what it is |
|---|---|
{{ range $type.EnumValues -}}
| `{{ .Name }}` | {{ markdownRenderFieldDoc .Doc | replace "<br />" " " }} |
{{ end -}}
{{ end -}}
{{- end -}}
{{- end -}}
