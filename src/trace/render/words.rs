//! The renderers' own few words. What a step says comes with its event, and is not translated here.

/// The language of the renderers' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    #[default]
    En,
    Zh,
}

/// One field for each word: a language that lacks one does not compile.
pub(super) struct Words {
    pub failed: &'static str,
    pub start: &'static str,
    pub on_host: &'static str,
    pub on_registry: &'static str,
    pub yes: &'static str,
    pub no: &'static str,
    pub download: &'static str,
    pub run: &'static str,
    pub not_found: &'static str,
    pub running: &'static str,
    pub stopped_by: &'static str,
    pub way: &'static str,
    pub took: &'static str,
    pub rest: &'static str,
    pub all_calls: &'static str,
}

const EN: Words = Words {
    failed: "FAILED",
    start: "start",
    on_host: "image on this host?",
    on_registry: "on the registry?",
    yes: "yes",
    no: "no",
    download: "download",
    run: "run",
    not_found: "error: image not found",
    running: "running",
    stopped_by: "stopped by an error",
    way: "the way taken",
    took: "took",
    rest: "the rest",
    all_calls: "calls of the kernel; each of them: --explain=syscalls",
};

const ZH: Words = Words {
    failed: "失败",
    start: "开始",
    on_host: "本机有镜像吗?",
    on_registry: "仓库里有吗?",
    yes: "有",
    no: "没有",
    download: "下载",
    run: "运行",
    not_found: "错误: 找不到镜像",
    running: "运行中",
    stopped_by: "因错误停止",
    way: "所走的路",
    took: "用时",
    rest: "其余",
    all_calls: "次系统调用; 逐一查看: --explain=syscalls",
};

impl Lang {
    pub(super) fn words(self) -> &'static Words {
        match self {
            Lang::En => &EN,
            Lang::Zh => &ZH,
        }
    }
}
