// All texts of the page in both languages. Functions make those with a number or a name in them.

const WORDS = {
  en: {
    title: "What happens in a video?", choose: "Choose a video", or_drop: "or drop one or more anywhere on this page",
    lead: "Upload a video. The network looks at a few frames and says what they most likely show.",
    limits: (size, length) => `up to ${size} and ${length}`,
    token: "Token", token_hint: "Whoever runs this server can tell you the token.", enter: "Continue", cancel: "Cancel", again: "Try again", classes: "Less likely",
    another: "Another video", copy: "Copy", copied: "Copied", save_json: "Save as JSON", save_csv: "Save as CSV",
    about: "About the model and the limits", details: "Technical details", docs: "For programs: POST /api/predict",
    local: "Your video goes only to this server, which deletes it as soon as it has answered.",
    sending: (share) => `Uploading: ${share}`, computing: "Looking at the video …",
    busy: "The server is busy. Your video is waiting its turn …",
    of_several: (number, all, name) => `Video ${number} of ${all}: ${name}`, said: (number, all) => `${number} of ${all} videos answered`,
    frames: (shown, looks) => {
      if (shown === looks) return shown === 1 ? "The frame that the network saw" : `${shown} frames that the network saw`;
      return `${shown} of ${looks} frames that the network saw`;
    },
    same: (shown, looks) => `The network looked ${looks} times: ${shown} different ${shown === 1 ? "frame" : "frames"}`,
    same_some: (shown) => `${shown} different frames of those that the network saw`,
    frame: (i, n) => `frame ${i} of ${n}`, from: (time) => `Play from ${time}`,
    heat_maps: "Where the network sees the most likely class", little: "weak evidence", much: "strong evidence",
    heat_maps_busy: "Looking for where the network sees it …", heat_maps_ask: "Show where the network sees it (uploads the video again)",
    no_player: "This browser cannot play this file, but the server may be able to read it.",
    no_file: "The video itself is not kept. Choose it again to play it.",
    queue: "Videos", clip: "Video", found: "Most likely class", share: "Probability", none: "None of the classes",
    many: {
      lead: "Upload a video: the network looks at a few frames and names all classes that it sees in them.",
      classes: "Probability of each class", found: "Classes", share: "Probabilities",
    },
    states: { waiting: "waiting", busy: "processing …", cancelled: "cancelled" },
    facts: { model: "Network", num_classes: "Recognises", size: "Largest file", length: "Longest video" },
    num_classes: (number) => `${number} classes`,
    technical: { protocol: "Protocol", arithmetic: "Precision", weights: "Weights (SHA-256)" },
    folder: "This is a folder, not a video file.", watch: "Use the camera", stop: "Stop the camera", picture: "the camera's picture",
    waiting: "The first answer comes in a few seconds.",
    missed: (number) => `${number} ${number === 1 ? "part was" : "parts were"} skipped: the server was still busy with the part before.`,
    no_camera: "The camera cannot be used: there is none, or this page has no permission to use it.",
    insecure: "Browsers allow the camera only on https:// pages and on pages of this machine.",
    problem: {
      large: (_, size) => `This file is larger than ${size}, the limit of this server.`,
      gone: () => "The server cannot be reached, or the connection was lost.",
      strange: () => "The answer did not come from this server. It may be a login page.",
      secret: () => "This server asks for a token.", 401: () => "The token is wrong.",
      413: () => "The file is too large for this server.",
    },
    reason: (sentence) => whole(sentence || "the server cannot read this video"),
    other: (status, sentence) => whole(sentence.replace(/: try again.*/, "") || `the server failed (${status})`),
    next: {
      video: "Choose another video, for example MP4, MOV, MKV or WebM.", shorter: "Choose a shorter video, or cut this one.",
      smaller: "Choose a smaller video, or reduce its resolution.", again: "Try again in a moment.",
      token: "Type it above and press Enter.", login: "Reload this page, log in, and choose the video again.",
      operator: "Ask whoever runs this server.", camera: "Allow it in the browser's settings, or choose a video.",
    },
  },
  zh: {
    title: "视频里发生了什么？", choose: "选择视频", or_drop: "或将视频拖放到本页任意位置",
    lead: "上传一段视频：模型查看其中几帧，给出最可能的类别。",
    limits: (size, length) => `最大 ${size}，最长 ${length}`,
    token: "令牌", token_hint: "令牌由服务器管理员提供。", enter: "继续", cancel: "取消", again: "重试", classes: "其他可能的类别",
    another: "换一个视频", copy: "复制", copied: "已复制", save_json: "保存为 JSON", save_csv: "保存为 CSV",
    about: "模型与限制", details: "技术细节", docs: "供程序调用：POST /api/predict",
    local: "视频只发送到本服务器，得到结果后立即删除。",
    sending: (share) => `正在上传：${share}`, computing: "正在分析视频……",
    busy: "服务器正忙：视频正在排队……",
    of_several: (number, all, name) => `第 ${number} 个视频，共 ${all} 个：${name}`, said: (number, all) => `已完成 ${number} 个视频，共 ${all} 个`,
    frames: (shown, looks) => shown === looks ? `模型看到的 ${shown} 帧` : `模型看到的 ${looks} 帧中的 ${shown} 帧`,
    same: (shown, looks) => `模型看了 ${looks} 次，共 ${shown} 个不同的帧`, same_some: (shown) => `模型看到的帧中的 ${shown} 个不同的帧`,
    frame: (i, n) => `第 ${i} 帧，共 ${n} 帧`, from: (time) => `从 ${time} 开始播放`,
    heat_maps: "模型判断的依据区域", little: "依据弱", much: "依据强",
    heat_maps_busy: "正在寻找依据区域……", heat_maps_ask: "显示依据区域（需再次上传视频）",
    no_player: "浏览器无法播放这个文件，但服务器也许可以读取。",
    no_file: "视频本身不会保留：要播放，请重新选择。",
    queue: "视频列表", clip: "视频", found: "最可能的类别", share: "概率", none: "没有符合的类别",
    many: { lead: "上传一段视频：模型查看其中几帧，给出其中出现的所有类别。", classes: "各类别的概率", found: "类别", share: "概率" },
    states: { waiting: "等待中", busy: "处理中……", cancelled: "已取消" },
    facts: { model: "模型", num_classes: "可识别", size: "文件最大", length: "视频最长" },
    num_classes: (number) => `${number} 个类别`,
    technical: { protocol: "测试协议", arithmetic: "计算精度", weights: "权重（SHA-256）" },
    folder: "这是文件夹，不是视频文件。", watch: "使用摄像头", stop: "关闭摄像头", picture: "摄像头画面",
    waiting: "几秒后给出第一个结果。",
    missed: (number) => `跳过了 ${number} 段：服务器还在处理前一段。`,
    no_camera: "无法使用摄像头：没有摄像头，或本页没有使用权限。",
    insecure: "浏览器只允许 https:// 页面和本机的页面使用摄像头。",
    problem: {
      large: (_, size) => `文件超过 ${size}，即本服务器的上限。`,
      gone: () => "无法连接服务器，或连接已中断。",
      strange: () => "收到的不是本服务器的响应，可能是登录页面。",
      secret: () => "本服务器需要令牌。", 401: () => "令牌错误。", 413: () => "文件太大，超过本服务器的上限。",
      400: () => "上传不完整或已损坏。", 403: () => "不允许其他网站访问本服务器。", 408: () => "上传太慢。",
      500: () => "服务器内部出错。", 503: () => "排队的视频太多。",
    },
    reason: (sentence) => {
      for (const [pattern, words] of REASONS) { const found = sentence.match(pattern); if (found) return `${words(found)}。`; }
      return `无法读取这个视频${sentence && `：${sentence}`}。`;
    },
    other: (status, sentence) => `服务器出错（${status}）${sentence && `：${sentence}`}。`,
    next: {
      video: "请选择其他视频：支持 MP4、MOV、MKV 和 WebM。", shorter: "请选择较短的视频，或先剪短。",
      smaller: "请选择较小的视频，或降低分辨率。", again: "请稍后重试。",
      token: "请在上方输入，然后按回车键。", login: "请刷新本页并登录，然后重新选择视频。",
      operator: "请联系服务器管理员。", camera: "请在浏览器设置中允许使用，或选择一个视频。",
    },
  },
};

// The reader's most frequent reasons for an unreadable video.
const REASONS = [
  [/not a readable video file/, () => "不是可读取的视频文件"], [/the file is empty/, () => "文件为空"],
  [/no video stream/, () => "其中没有视频流"], [/it lasts longer than ([\d.e+]+) s/, (found) => `时长超过 ${duration(Number(found[1]))}`],
  [/truncated/, () => "文件不完整"], [/damaged/, () => "文件已损坏"], [/given up after/, () => "读取时间过长"],
];
// The advice for each status; for all others: try again.
const NEXT = { large: "smaller", strange: "login", secret: "token", 401: "token", 403: "operator", 413: "smaller", 422: "video" };

const whole = (sentence) => `${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}.`;

/** Return [sentence, advice] for a problem { status, sentence }. */
function told({ status, sentence = "" }, words) {
  if (status === 422) {
    const next = /lasts longer/.test(sentence) ? "shorter" : "video";
    return [words.reason(sentence), words.next[next]];
  }
  const say = words.problem[status] ?? words.other;
  return [say(status, status === "large" ? bytes(1e6 * info.limits.upload_mb) : sentence), words.next[NEXT[status] ?? "again"]];
}

const unit = (value, name, digits = 0, unitDisplay = "short") =>
  new Intl.NumberFormat(language, { style: "unit", unit: name, unitDisplay, maximumFractionDigits: digits }).format(value);
const bytes = (size) => size < 1e6 ? unit(Math.ceil(size / 1e3), "kilobyte") : unit(size / 1e6, "megabyte", size < 1e7 ? 1 : 0);
const duration = (seconds) => (seconds >= 60 && seconds % 60 === 0 ? unit(seconds / 60, "minute", 0, "long") : unit(seconds, "second", 1, "long"))
  .replace(/(\d)(?=[^\x00-\xff])/, "$1 "); // Intl writes no space before a Chinese unit, but one before MB
/** Return a time as players show it, with so many digits after the seconds. */
function clock(seconds, digits = 0) {
  const rounded = Number(seconds.toFixed(digits));
  const [minutes, rest] = [Math.floor(rounded / 60), (rounded % 60).toFixed(digits)];
  return `${minutes}:${rest.padStart(digits ? 3 + digits : 2, "0")}`;
}
const percent = (share, digits = 1) => {
  const show = (value) => new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  const least = 10 ** -(digits + 2);
  if (share > 0 && share < least) return `<${show(least)}`; // more than zero
  return share < 1 && share > 1 - least ? `>${show(1 - least)}` : show(share);
};
const readable = (label) => label.replaceAll("_", " ");
