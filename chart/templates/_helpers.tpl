{{/* Name of the InventoryApp, and what every other name begins with. Its CRD allows 40 characters. */}}
{{- define "inventory.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of everything; each object adds its app.kubernetes.io/component. */}}
{{- define "inventory.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "inventory.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The part of the labels that never changes: selectors can't. */}}
{{- define "inventory.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels that the operator gives to the service's pods and to their Service. */}}
{{- define "inventory.serviceSelectorLabels" -}}
inventory.dev/app: {{ include "inventory.fullname" . }}
app.kubernetes.io/component: service
{{- end -}}

{{/* Reference of an image: (list $ the-image). A digest wins over the tag. */}}
{{- define "inventory.image" -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default (index . 0).Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Names of the Secrets that the service's pods see, as JSON; one that is named twice counts once, the last wins. */}}
{{- define "inventory.serviceSecretNames" -}}
{{- $names := list -}}
{{- if or .Values.postgres.enabled .Values.secrets.service.existingSecret -}}
{{- $names = append $names (include "inventory.secretName.service" .) -}}
{{- end -}}
{{- if .Values.redis.enabled -}}
{{- $names = append $names (printf "%s-redis-url" (include "inventory.fullname" .)) -}}
{{- end -}}
{{- $names = append $names (include "inventory.secretName.admin" .) -}}
{{- toJson (concat $names .Values.app.secrets | reverse | uniq | reverse) -}}
{{- end -}}

{{/* The service's environment, as JSON: what the ingress tells, and app.config, which wins. */}}
{{- define "inventory.config" -}}
{{- $told := dict -}}
{{- if .Values.ingress.enabled -}}
{{- with .Values.ingress.host -}}
{{- $name := include "inventory.fullname" $ -}}
{{- $service := printf "%s.%s" $name $.Release.Namespace -}}
{{- $hosts := list . $name $service (printf "%s.svc" $service) (printf "%s.svc.cluster.local" $service) "localhost" "127.0.0.1" -}}
{{- if or $.Values.app.strategy.canary $.Values.app.strategy.blueGreen -}}
{{- $candidate := printf "%s-candidate.%s" $name $.Release.Namespace -}}
{{- $hosts = concat $hosts (list (printf "%s-candidate" $name) $candidate (printf "%s.svc" $candidate) (printf "%s.svc.cluster.local" $candidate)) -}}
{{- end -}}
{{- $told = set $told "INVENTORY_ALLOWED_HOSTS" (join "," $hosts) -}}
{{- end -}}
{{- with .Values.ingress.trustedProxies -}}
{{- $told = set $told "INVENTORY_TRUSTED_PROXIES" (join "," .) -}}
{{- end -}}
{{- end -}}
{{- toJson (merge (deepCopy .Values.app.config) $told) -}}
{{- end -}}

{{/* Name of a ClusterRole: (list $ "operator"). No two releases in the cluster have the same: no name holds a colon. */}}
{{- define "inventory.clusterRoleName" -}}
{{- $ := index . 0 -}}
{{- printf "%s:%s:%s" $.Release.Namespace (include "inventory.fullname" $) (index . 1) -}}
{{- end -}}

{{- define "inventory.secretName.service" -}}
{{- .Values.secrets.service.existingSecret | default (printf "%s-service" (include "inventory.fullname" .)) -}}
{{- end -}}

{{- define "inventory.secretName.migrations" -}}
{{- .Values.secrets.migrations.existingSecret | default (printf "%s-migrations" (include "inventory.fullname" .)) -}}
{{- end -}}

{{- define "inventory.secretName.admin" -}}
{{- .Values.secrets.admin.existingSecret | default (printf "%s-admin" (include "inventory.fullname" .)) -}}
{{- end -}}

{{/* Names of the Secrets that the prepare Job generates, as JSON; one that others refer to comes before them. */}}
{{- define "inventory.generatedSecretNames" -}}
{{- $fullname := include "inventory.fullname" . -}}
{{- $names := list -}}
{{- if .Values.app.enabled -}}
{{- if .Values.postgres.enabled -}}
{{- $names = append $names (printf "%s-postgres" $fullname) -}}
{{- $names = append $names (include "inventory.secretName.service" .) -}}
{{- if .Values.app.migrations.enabled -}}
{{- $names = append $names (include "inventory.secretName.migrations" .) -}}
{{- end -}}
{{- end -}}
{{- if .Values.redis.enabled -}}
{{- $names = append $names (printf "%s-redis" $fullname) -}}
{{- $names = append $names (printf "%s-redis-url" $fullname) -}}
{{- end -}}
{{- if not .Values.secrets.admin.existingSecret -}}
{{- $names = append $names (include "inventory.secretName.admin" .) -}}
{{- end -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{/* "yes" if there is anything for the prepare Job to do. */}}
{{- define "inventory.prepares" -}}
{{- if or .Values.crds.upgrade (ne (include "inventory.generatedSecretNames" .) "[]") -}}yes{{- end -}}
{{- end -}}
