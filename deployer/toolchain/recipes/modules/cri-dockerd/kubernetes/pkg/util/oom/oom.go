package oom

import (
	"fmt"
	"os"
	"strconv"
)

type Adjuster struct{}

func NewOOMAdjuster() Adjuster { return Adjuster{} }

// ApplyOOMScoreAdj sets how gladly the kernel ends a process when memory runs out.
func (Adjuster) ApplyOOMScoreAdj(pid, score int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(score)), 0o700)
}
