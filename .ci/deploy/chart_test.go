package deploy_test

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	security "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// release is what the chart renders, each object decoded into the type of Kubernetes: a key that the type does not have is an error, as is
// one that stands twice.
type release struct {
	deployment appsv1.Deployment
	account    corev1.ServiceAccount
	config     corev1.ConfigMap
	services   []corev1.Service
	network    networkingv1.NetworkPolicy
	disruption policyv1.PodDisruptionBudget
	monitor    *serviceMonitor
}

// serviceMonitor is what the chart uses of the Prometheus operator's type, whose module is not worth having for it.
type serviceMonitor struct {
	v1.TypeMeta   `json:",inline"`
	v1.ObjectMeta `json:"metadata"`
	Spec          struct {
		Selector  v1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port      string `json:"port"`
			Path      string `json:"path"`
			Scheme    string `json:"scheme"`
			Interval  string `json:"interval"`
			TLSConfig struct {
				CA struct {
					ConfigMap struct {
						Name string `json:"name"`
						Key  string `json:"key"`
					} `json:"configMap"`
				} `json:"ca"`
				ServerName string `json:"serverName"`
			} `json:"tlsConfig"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// render is `helm template` with the values, which are held to the schema.
func render(values string) (map[string]string, error) {
	chart, err := loader.LoadDir(filepath.Join(deployed, "helm", "sandyq"))
	if err != nil {
		return nil, err
	}
	if err := chart.Validate(); err != nil {
		return nil, err
	}
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(chart, given, chartutil.ReleaseOptions{Name: "vault-1", Namespace: "sandyq", Revision: 1, IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.Render(chart, all)
}

// rendered is the release with the values.
func rendered(t *testing.T, values string) release {
	t.Helper()
	files, err := render(values)
	if err != nil {
		t.Fatal(err)
	}
	var r release
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for document := range strings.SplitSeq("\n"+files[name], "\n---") {
			if strings.TrimSpace(document) == "" || strings.HasSuffix(name, ".tpl") {
				continue
			}
			r.take(t, name, document)
		}
	}
	return r
}

// take decodes an object.
func (r *release) take(t *testing.T, name, document string) {
	t.Helper()
	var is v1.TypeMeta
	if err := yaml.Unmarshal([]byte(document), &is); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var into any
	switch is.APIVersion + " " + is.Kind {
	case "apps/v1 Deployment":
		into = &r.deployment
	case "v1 ServiceAccount":
		into = &r.account
	case "v1 ConfigMap":
		into = &r.config
	case "v1 Service":
		r.services = append(r.services, corev1.Service{})
		into = &r.services[len(r.services)-1]
	case "networking.k8s.io/v1 NetworkPolicy":
		into = &r.network
	case "policy/v1 PodDisruptionBudget":
		into = &r.disruption
	case "monitoring.coreos.com/v1 ServiceMonitor":
		r.monitor = &serviceMonitor{}
		into = r.monitor
	default:
		t.Fatalf("%s: an object of the kind %s %s", name, is.APIVersion, is.Kind)
	}
	if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
		t.Errorf("%s: %v\n%s", name, err, document)
	}
}

// The least values, and values that use everything.
const (
	least = `image: {repository: registry.example/sandyq, tag: "1"}`
	most  = `
image:
  repository: registry.example/sandyq
  digest: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  pullSecrets: [registry]
replicas: 3
config: {operator: 'AO "Қалқан": #1', log: {level: debug}}
serviceAccount: {name: keeper, annotations: {a: b}}
service: {type: LoadBalancer, annotations: {c: d}}
podDisruptionBudget: {maxUnavailable: 50%}
nodeSelector: {disk: fast}
tolerations: [{key: only, operator: Exists, effect: NoSchedule}]
priorityClassName: high
podAnnotations: {e: f}
networkPolicy: {egress: {issuer: {port: 443, to: [{ipBlock: {cidr: 10.0.0.0/8}}]}}}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
`
)

// TestChart: what it renders, with the least values and with most, is what Kubernetes takes, hangs together, and is restricted.
func TestChart(t *testing.T) {
	for name, values := range map[string]string{"least": least, "most": most} {
		t.Run(name, func(t *testing.T) {
			r := rendered(t, values)
			r.hangsTogether(t)
			r.isRestricted(t)
			r.findsItsFiles(t)
		})
	}
	r := rendered(t, most)
	if got := r.deployment.Spec.Template.Spec.Containers[0].Image; !strings.HasPrefix(got, "registry.example/sandyq@sha256:") {
		t.Errorf("the image is %s", got)
	}
	if r.monitor == nil || len(r.monitor.Spec.Endpoints) != 1 || r.monitor.Labels["release"] != "prometheus" {
		t.Errorf("the monitor is %+v", r.monitor)
	}
	if r.account.Name != "keeper" || *r.deployment.Spec.Replicas != 3 || len(r.network.Spec.Egress) != 5 {
		t.Errorf("values are not taken over: %+v", r)
	}
	var config tree
	if err := yaml.UnmarshalStrict([]byte(r.config.Data["sandyq.yaml"]), &config); err != nil {
		t.Fatal(err)
	}
	if config["operator"] != `AO "Қалқан": #1` {
		t.Errorf("the operator is %v", config["operator"])
	}
}

// TestChartConfiguration: sandyq.yaml in the ConfigMap is config of the values, which a test beside Sandyq's parser reads.
func TestChartConfiguration(t *testing.T) {
	var got tree
	if err := yaml.UnmarshalStrict([]byte(rendered(t, least).config.Data["sandyq.yaml"]), &got); err != nil {
		t.Fatal(err)
	}
	if want := readTree(t, "helm/sandyq/values.yaml")["config"]; !reflect.DeepEqual(any(got), want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func (r release) hangsTogether(t *testing.T) {
	t.Helper()
	pod := r.deployment.Spec.Template
	its := labels.Set(pod.Labels)
	ports := map[string]int32{}
	for _, p := range pod.Spec.Containers[0].Ports {
		ports[p.Name] = p.ContainerPort
	}
	for name, selector := range map[string]map[string]string{
		"deployment": r.deployment.Spec.Selector.MatchLabels, "network policy": r.network.Spec.PodSelector.MatchLabels,
		"disruption budget": r.disruption.Spec.Selector.MatchLabels,
		"service":           r.services[0].Spec.Selector, "second service": r.services[1].Spec.Selector,
	} {
		if len(selector) == 0 || !labels.SelectorFromSet(selector).Matches(its) {
			t.Errorf("%s: %v selects other pods than %v", name, selector, its)
		}
	}
	for _, s := range r.services {
		for _, p := range s.Spec.Ports {
			if ports[p.TargetPort.String()] != p.Port {
				t.Errorf("%s: %v leads nowhere", s.Name, p)
			}
		}
	}
	for _, rule := range r.network.Spec.Ingress {
		if len(rule.From) == 0 || len(rule.Ports) != 1 || ports[rule.Ports[0].Port.String()] == 0 {
			t.Errorf("ingress %+v", rule)
		}
	}
	for _, rule := range r.network.Spec.Egress {
		if len(rule.To) == 0 || len(rule.Ports) == 0 {
			t.Errorf("egress to anybody: %+v", rule)
		}
	}
	if len(r.network.Spec.PolicyTypes) != 2 || len(r.network.Spec.Ingress) != 2 {
		t.Errorf("the network policy is %+v", r.network.Spec)
	}
	container := pod.Spec.Containers[0]
	for path, probe := range map[string]*corev1.Probe{"/healthz": container.LivenessProbe, "/readyz": container.ReadinessProbe} {
		if get := probe.HTTPGet; get.Path != path || get.Port.String() != "ops" || get.Scheme != corev1.URISchemeHTTPS {
			t.Errorf("the probe of %s is %+v", path, get)
		}
	}
	if roll := r.deployment.Spec.Strategy.RollingUpdate; roll.MaxUnavailable.String() != "0" || roll.MaxSurge.String() != "1" {
		t.Errorf("an upgrade takes nodes away: %v", roll)
	}
	if pod.Spec.ServiceAccountName != r.account.Name {
		t.Errorf("the pods run as %s, which is not made", pod.Spec.ServiceAccountName)
	}
	if r.monitor != nil {
		selector, err := v1.LabelSelectorAsSelector(&r.monitor.Spec.Selector)
		if err != nil {
			t.Fatal(err)
		}
		var selected []string
		for _, s := range r.services {
			if selector.Matches(labels.Set(s.Labels)) && s.Spec.Ports[0].Name == r.monitor.Spec.Endpoints[0].Port {
				selected = append(selected, s.Name)
			}
		}
		if !slices.Equal(selected, []string{"vault-1-ops"}) {
			t.Errorf("the monitor selects %v", selected)
		}
	}
}

// isRestricted asks Kubernetes's own rules of the level restricted, and a little more.
func (r release) isRestricted(t *testing.T) {
	t.Helper()
	rules, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	pod := r.deployment.Spec.Template
	level := security.LevelVersion{Level: security.LevelRestricted, Version: security.LatestVersion()}
	results := rules.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec)
	if len(results) == 0 {
		t.Fatal("no rule was asked")
	}
	for _, result := range results {
		if !result.Allowed {
			t.Errorf("%s: %s", result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
	if s := pod.Spec.Containers[0].SecurityContext; s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
		t.Error("the root file system can be written to")
	}
	if auto := pod.Spec.AutomountServiceAccountToken; auto == nil || *auto {
		t.Error("the pods get a token for Kubernetes")
	}
}

// findsItsFiles: every file that the configuration names lies in a volume that is mounted, and every volume is mounted once.
func (r release) findsItsFiles(t *testing.T) {
	t.Helper()
	pod := r.deployment.Spec.Template.Spec
	var config tree
	if err := yaml.UnmarshalStrict([]byte(r.config.Data["sandyq.yaml"]), &config); err != nil {
		t.Fatal(err)
	}
	mounts := map[string]string{} // the volumes, by where they are
	for _, m := range pod.Containers[0].VolumeMounts {
		mounts[m.MountPath] = m.Name
	}
	for _, v := range pod.Volumes {
		if !slices.Contains(slices.Collect(maps.Values(mounts)), v.Name) {
			t.Errorf("the volume %s is not mounted", v.Name)
		}
		if s := v.Secret; s != nil && (s.DefaultMode == nil || *s.DefaultMode&0o027 != 0) {
			t.Errorf("the secret %s has a mode that Sandyq refuses", v.Name)
		}
	}
	if len(mounts) != len(pod.Volumes) {
		t.Errorf("%d volumes and %d mounts", len(pod.Volumes), len(mounts))
	}
	for key, file := range named(t, config) {
		if mounts[filepath.Dir(file)] == "" {
			t.Errorf("%s is %s, which is not mounted", key, file)
		}
	}
	for key, name := range map[string]string{"listen": "api", "ops": "ops"} {
		for _, p := range pod.Containers[0].Ports {
			if p.Name == name && port(t, config[key]) != strconv.Itoa(int(p.ContainerPort)) {
				t.Errorf("%s is %v and the port %d", key, config[key], p.ContainerPort)
			}
		}
	}
	stop, err := time.ParseDuration(config["shutdown_timeout"].(string))
	if err != nil {
		t.Fatal(err)
	}
	// Requests that did not end are cut off, which may take ten seconds more.
	needs := stop + 10*time.Second + time.Duration(pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds)*time.Second
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace < needs {
		t.Errorf("pods are killed after %v and need %v", grace, needs)
	}
}

// TestChartRefuses: values that cannot work do not render.
func TestChartRefuses(t *testing.T) {
	for name, c := range map[string]struct{ values, want string }{
		"no image":           {"", "repository"},
		"no tag":             {"image: {repository: x}", "tag"},
		"an unknown key":     {least + "\nreplica: 3", "replica"},
		"replicas in words":  {least + "\nreplicas: two", "replicas"},
		"anybody":            {least + "\nnetworkPolicy: {api: []}", "api"},
		"anywhere":           {least + "\nnetworkPolicy: {egress: {vault: {to: []}}}", "vault"},
		"rows in the pod":    {least + "\nconfig: {store: {engine: badger}}", "engine"},
		"another port":       {least + "\nconfig: {ops: '0.0.0.0:9999'}", "ops"},
		"a half of a digest": {"image: {repository: x, digest: 'sha256:abc'}", "digest"},
		"a token too short":  {least + "\nvault: {tokenSeconds: 60}", "tokenSeconds"},
		"nobody's account":   {least + "\nserviceAccount: {name: ''}", "name"},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := render(c.values)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("rendered %d files: %v", len(files), err)
			}
		})
	}
}

// TestChartStrict: a key that Kubernetes does not have would be found.
func TestChartStrict(t *testing.T) {
	err := yaml.UnmarshalStrict([]byte("apiVersion: v1\nkind: ServiceAccount\nautomountServiceAccountTokens: false"), &corev1.ServiceAccount{})
	if err == nil {
		t.Error("an unknown key passes")
	}
}
