//! The renderers' own words. What a step says comes with its event, and is not translated here.
//!
//! Sentences have gaps, `{}`, which [`fill`] fills in order; in both languages they stand in the same order.

use crate::trace::event::Actor;

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
    pub exited: &'static str,
    pub stopped_by: &'static str,
    pub step: &'static str,
    pub way: &'static str,
    pub took: &'static str,
    pub rest: &'static str,
    pub all_calls: &'static str,
    pub lesson: &'static str,
    pub more_steps: &'static str,
    pub blobs: &'static str,
    pub altogether: &'static str,
    pub already_here: &'static str,
    pub verified: &'static str,
    pub file_calls: &'static str,
    pub file_calls_each: &'static str,
    /// Registry, layer, network, runtime, container.
    pub lanes: [&'static str; 5],
    pub kernel: Kernel,
}

/// What the calls of the kernel do for a container.
pub(super) struct Kernel {
    pub group: &'static str,
    pub limits: &'static str,
    pub group_gone: &'static str,
    pub holds: &'static str,
    pub lets_go_on: &'static str,
    pub signals: &'static str,
    pub joins_namespaces: &'static str,
    pub new_process: &'static str,
    pub leaves_view: &'static str,
    pub own_namespaces: &'static str,
    pub and: &'static str,
    pub joins: &'static str,
    pub joins_read_only: &'static str,
    pub root: &'static str,
    pub root_lets_go: &'static str,
    pub joined_tree: &'static str,
    pub its_directory: &'static str,
    pub unmounts: &'static str,
    pub mounts: &'static str,
    pub more_mounts: &'static str,
    pub hides: &'static str,
    pub devices: &'static str,
    pub host_name: &'static str,
    pub link_up: &'static str,
    pub loopback: &'static str,
    pub gives_up: &'static str,
    pub keeps: &'static str,
    pub filters: &'static str,
    pub user: &'static str,
    pub user_group: &'static str,
    pub becomes: &'static str,
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
    exited: "exited ({})",
    stopped_by: "stopped by an error",
    step: "step {}",
    way: "the way taken",
    took: "took",
    rest: "the rest",
    all_calls: "{} calls of the kernel; each of them: --explain=syscalls",
    lesson: "(lesson {})",
    more_steps: "… and {} more of the same kind",
    blobs: "({} blobs)",
    altogether: "{}, {} MB altogether",
    already_here: "{} layers, {} already here: {}",
    verified: "sha256 verified",
    file_calls: "{} calls of the kernel for files",
    file_calls_each: "{} calls of the kernel for files: {}",
    lanes: ["registry", "layers", "network", "runtime", "container"],
    kernel: Kernel {
        group: "puts it into the control group {}",
        limits: "changes the limits of the control group {}",
        holds: "the kernel stops all processes of the control group",
        lets_go_on: "the kernel lets the processes of the control group go on",
        signals: "sends {} to process {} of the host",
        joins_namespaces: "joins the container's {} namespaces",
        group_gone: "removes the control group: it is empty now",
        new_process: "makes a new process",
        leaves_view: "leaves the host's view",
        own_namespaces: "{}, with its own {} namespaces",
        and: " and ",
        joins: "joins {} read-only and 1 writable layer into one tree (overlay)",
        joins_read_only: "joins {} read-only layers into one tree (overlay)",
        root: "makes {} its root directory",
        root_lets_go: "makes {} its root, lets go of the host's files",
        joined_tree: "the joined tree",
        its_directory: "its directory",
        unmounts: "unmounts {}",
        mounts: "mounts {}",
        more_mounts: " and {} more",
        hides: "hides or write-protects {} places in /proc and /sys",
        devices: "makes {} devices: {}",
        host_name: "names the host {}",
        link_up: "brings network link {}{} up",
        loopback: " (loopback)",
        gives_up: "gives up {} capabilities",
        keeps: "keeps {}",
        filters: "filters system calls ({} instructions)",
        user: "becomes user {}",
        user_group: "becomes user {}, group {}",
        becomes: "becomes {}",
    },
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
    exited: "已退出 ({})",
    stopped_by: "因错误停止",
    step: "第 {} 步",
    way: "所走的路",
    took: "用时",
    rest: "其余",
    all_calls: "{} 次系统调用; 逐一查看: --explain=syscalls",
    lesson: "(第 {} 课)",
    more_steps: "… 以及另外 {} 个同类步骤",
    blobs: "({} 个 blob)",
    altogether: "{}, 共 {} MB",
    already_here: "共 {} 层, 其中 {} 层本机已有: {}",
    verified: "sha256 已校验",
    file_calls: "{} 次文件系统调用",
    file_calls_each: "{} 次文件系统调用: {}",
    lanes: ["仓库", "镜像层", "网络", "运行时", "容器"],
    kernel: Kernel {
        group: "放进控制组 {}",
        limits: "修改控制组 {} 的限制",
        holds: "内核停住控制组里的所有进程",
        lets_go_on: "内核让控制组里的进程继续运行",
        signals: "发送 {} 给主机的进程 {}",
        joins_namespaces: "加入容器的 {} 命名空间",
        group_gone: "删除控制组: 里面已没有进程",
        new_process: "创建新进程",
        leaves_view: "离开宿主机的视图",
        own_namespaces: "{}, 有自己的 {} 命名空间",
        and: "、",
        joins: "把 {} 个只读层和 1 个可写层合并成一棵目录树 (overlay)",
        joins_read_only: "把 {} 个只读层合并成一棵目录树 (overlay)",
        root: "以{}为根目录",
        root_lets_go: "以{}为根目录, 放开宿主机的文件",
        joined_tree: "合并的目录树",
        its_directory: "自己的目录",
        unmounts: "卸载 {}",
        mounts: "挂载 {}",
        more_mounts: " 以及另外 {} 处",
        hides: "隐藏或写保护 /proc 和 /sys 中的 {} 处",
        devices: "创建 {} 个设备: {}",
        host_name: "主机名设为 {}",
        link_up: "启用网络接口 {}{}",
        loopback: " (回环)",
        gives_up: "放弃 {} 项权能",
        keeps: "保留 {} 项",
        filters: "过滤系统调用 ({} 条指令)",
        user: "成为用户 {}",
        user_group: "成为用户 {}, 组 {}",
        becomes: "变成 {}",
    },
};

impl Lang {
    pub(super) fn words(self) -> &'static Words {
        match self {
            Lang::En => &EN,
            Lang::Zh => &ZH,
        }
    }
}

impl Words {
    /// A lane in the line that says where the time went.
    pub(super) fn lane(&self, actor: Actor) -> &'static str {
        let [registry, layer, network, runtime, container] = self.lanes;
        match actor {
            Actor::Registry => registry,
            Actor::Layer => layer,
            Actor::Network => network,
            Actor::Runtime => runtime,
            Actor::Container => container,
            other => other.name(),
        }
    }
}

/// Puts the values into the gaps of a sentence. English has another form for one of a thing.
pub(super) fn fill(sentence: &str, values: &[&str]) -> String {
    const SINGULAR: [(&str, &str); 6] = [
        ("1 calls", "1 call"),
        ("1 blobs", "1 blob"),
        ("1 layers", "1 layer"),
        ("1 devices", "1 device"),
        ("1 capabilities", "1 capability"),
        ("1 read-only layers", "1 read-only layer"),
    ];
    let mut text = sentence.to_owned();
    let mut values = values.iter();
    let mut at = 0;
    while let (Some(gap), Some(value)) = (text[at..].find("{}"), values.next()) {
        text.replace_range(at + gap..at + gap + 2, value);
        at += gap + value.len();
    }
    match SINGULAR.iter().find(|(many, _)| text.starts_with(many) || text.contains(&format!(" {many}"))) {
        Some((many, one)) => text.replacen(many, one, 1),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_in_order_whatever_the_values_hold() {
        assert_eq!(fill("becomes user {}, group {}", &["{}", "7"]), "becomes user {}, group 7");
        assert_eq!(fill("makes {} devices: {}", &["1", "null"]), "makes 1 device: null");
        assert_eq!(fill("{} calls of the kernel", &["21"]), "21 calls of the kernel");
        assert_eq!(fill("{} calls of the kernel", &["1"]), "1 call of the kernel");
    }
}
