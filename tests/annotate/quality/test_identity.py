"""Self-identification is found in seven languages, and mere mention is not."""

from __future__ import annotations

import time

import pytest

from annotate.quality.identity import IdentityFinder

FINDER = IdentityFinder(["SmolLM2-135M-Instruct", "judge", "helpful-dpo-7"])

LEAKS = """\
I am Claude.
Hi! I’m ChatGPT
I'm Claude, an AI assistant made by Anthropic.
I'm the AI assistant Claude
Hello! My name is Bard.
You are talking to ChatGPT.
As ChatGPT, I cannot do this.
Sorry, but as an AI language model developed by OpenAI, I do not have feelings.
I am a large language model, trained by Google.
I was created by the team at OpenAI.
I'm an AI developed by a company called Anthropic
I'm an AI language model designed to help with many tasks, created by OpenAI.
I am based on the GPT-4 architecture.
I am an OpenAI language model.
I am a chatbot from Google.
I'm Llama 3, a model by Meta.
Anthropic made me.
No, I am not ChatGPT; I am Gemini, made by Google.
ChatGPT: Sure!
I'm SmolLM2, a small model.
I am helpful-dpo-7.
저는 Claude입니다.
안녕하세요, 나는 챗GPT야.
제 이름은 클로바예요.
저는 OpenAI에서 개발한 언어 모델입니다.
저는 네이버의 초대규모 AI 하이퍼클로바X입니다.
我是ChatGPT。
我是由OpenAI训练的大型语言模型。
我是通义千问，由阿里云开发的。
我是百度公司开发的人工智能语言模型，我的中文名是文心一言。
作为一个由OpenAI训练的语言模型，我无法
私はClaudeです。
私はOpenAIによって開発されたAIです。
私の名前はChatGPTといいます。
Je suis un modèle de langage développé par OpenAI.
Je m'appelle Claude.
En tant que ChatGPT, je ne peux pas.
Ich bin ein Sprachmodell, das von OpenAI entwickelt wurde.
Ich bin ein von OpenAI entwickeltes Sprachmodell.
Als ChatGPT kann ich das nicht.
Soy un modelo de lenguaje desarrollado por OpenAI.
Fui creado por Anthropic.
Como modelo de lenguaje entrenado por OpenAI, no puedo""".splitlines()

MENTIONS = """\
OpenAI was founded in 2015 and made ChatGPT.
As ChatGPT becomes popular, schools adapt.
As Google grows, I worry.
I am a Gemini, born in June.
I'm Claude Monet, painter of water lilies.
I am a fan of Claude Monet.
I am a llama.
I'm happy to tell you about Anthropic, the company that made Claude.
I am not sure what ChatGPT is.
I am a Google engineer.
I am a Google AI researcher.
I was hired by Google in 2010.
I was trained by Meta-analysis methods.
I'm using ChatGPT for my homework.
It answered: "I am ChatGPT."
As an AI language model, I do not have feelings.
I am a language model and know little about OpenAI.
I am a judge.
저는 ChatGPT에 대해 잘 모릅니다.
나는 구글에서 검색했다.
ChatGPT는 OpenAI가 개발한 인공지능 챗봇입니다.
OpenAI开发了ChatGPT。
我是百度的员工。
我来自中国，在百度工作的朋友
私はChatGPTが好きです。
OpenAIはChatGPTを開発しました。
ChatGPT est un modèle développé par OpenAI.
Je suis un fan de Google.
Ich bin von Google begeistert.
ChatGPT wurde von OpenAI entwickelt.
Soy fan de Google.""".splitlines()


@pytest.mark.parametrize("text", LEAKS)
def test_who_names_itself_is_found(text: str) -> None:
    found = FINDER.find(f"Of course. Here is what I can say.\n{text}, and so on.")
    assert found and found in f"{text}, and so on."


@pytest.mark.parametrize("text", MENTIONS)
def test_mere_mention_is_no_leak(text: str) -> None:
    assert FINDER.find(text) == ""


def test_names_of_the_registry_count_where_they_are_no_words() -> None:
    assert FINDER.find("I am SmolLM2-135M-Instruct.") and not IdentityFinder().find("I am SmolThing-7.")
    assert not FINDER.find("I am helpful.")


@pytest.mark.parametrize(
    "text",
    [
        "I am AI AI AI AI " * 4000 + "Claude",
        "I am an AI model that is trained by the the the " * 1400 + " OpenAI",
        ("As " + "AI " * 12 + "made by the the the GPT, ") * 1000,
        ("I am AI that " + "AI " * 25 + "Claude. ") * 700,
        "我是" * 30000 + "ChatGPT",
        "OpenAI " * 9000,
    ],
)
def test_no_text_makes_it_slow(text: str) -> None:
    start = time.process_time()
    FINDER.find(text)
    assert time.process_time() - start < 1
