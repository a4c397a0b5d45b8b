{{- define "sandyq.selector" -}}
app.kubernetes.io/name: sandyq
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sandyq.labels" -}}
{{ include "sandyq.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "sandyq.image" -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end -}}
