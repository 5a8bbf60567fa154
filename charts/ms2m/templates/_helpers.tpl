{{/* The image of a program: {{ include "ms2m.image" (list . .Values.manager.image) }} */}}
{{- define "ms2m.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Labels of every object; a program's have its name besides. */}}
{{- define "ms2m.labels" -}}
app.kubernetes.io/part-of: ms2m
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{/* The user that an agent is to the API server. */}}
{{- define "ms2m.agentUser" -}}
system:serviceaccount:{{ .Values.agent.namespace }}:ms2m-node-agent
{{- end -}}

{{/* What a restricted namespace wants of a pod, and of a container. */}}
{{- define "ms2m.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}
{{- define "ms2m.restrictedContainer" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What fits together is beyond values.schema.json. */}}
{{- define "ms2m.check" -}}
{{- if and (gt (int .Values.manager.replicas) 1) (not .Values.manager.leaderElection.enabled) -}}
{{- fail "manager.replicas is more than 1: set manager.leaderElection.enabled=true, or two managers would carry the same migration" -}}
{{- end -}}
{{- if eq .Values.agent.namespace .Release.Namespace -}}
{{- if .Values.agent.createNamespace -}}
{{- fail "agent.namespace is the release's namespace: set agent.createNamespace=false, and label it pod-security.kubernetes.io/enforce=privileged yourself, or leave the agents a namespace of their own" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The ConfigMap of the registries' authorities. */}}
{{- define "ms2m.registryCA" -}}
{{- if .Values.registry.caBundle -}}ms2m-registry-ca-bundle{{- else -}}{{ .Values.registry.caConfigMap }}{{- end -}}
{{- end -}}
