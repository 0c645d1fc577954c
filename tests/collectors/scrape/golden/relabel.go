// Applies Prometheus' own relabelling to cases of JSON lines: {"labels": {...}, "rules": "YAML"};
// answers each with its labels after the rules, or null where a rule drops them.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v2"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var told struct {
			Labels map[string]string
			Rules  string
		}
		if err := json.Unmarshal(lines.Bytes(), &told); err != nil {
			panic(err)
		}
		var rules []*relabel.Config
		err := yaml.UnmarshalStrict([]byte(told.Rules), &rules)
		for _, rule := range rules {
			if err == nil {
				err = rule.Validate(model.UTF8Validation)
			}
		}
		if err != nil {
			fmt.Println(`"refused"`)
			continue
		}
		var after any
		if now, kept := relabel.Process(labels.FromMap(told.Labels), rules...); kept {
			after = now.Map()
		}
		answer, _ := json.Marshal(after)
		fmt.Println(string(answer))
	}
}
